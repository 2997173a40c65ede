"""Whether an app is called the release installed here: every file counts, wherever it lies."""

from __future__ import annotations

import hashlib
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
import tomli_w

from client.gate.approval_app import describe_app, differences, read_app
from common.errors import InputError
from common.utils.app_file import RELEASE, build_app

CALLED_THE_RELEASE = "it is that of the release installed here"
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def release() -> bytes:
    return build_app()


@pytest.fixture
def files(release: bytes) -> Files:
    with zipfile.ZipFile(BytesIO(release)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def listed(files: Files) -> Files:
    """With a list of files that Flower takes, as anybody can write it."""
    rest = {name: data for name, data in files.items() if name != ".info/CONTENT"}
    names = ["pyproject.toml", *sorted(rest.keys() - {"pyproject.toml"})]
    lines = [f"{n},{hashlib.sha256(rest[n]).hexdigest()},{len(rest[n]) * 8}" for n in names]
    return {**rest, ".info/CONTENT": "\n".join(lines).encode()}


def packed(folder: Path, files: Files, *more: tuple[str, bytes]) -> Path:
    path = folder / "app.fab"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in [*files.items(), *more]:
            archive.writestr(name, data)
    return path


def found(folder: Path, files: Files) -> dict[str, str]:
    return differences(read_app(packed(folder, files)), RELEASE)


def test_the_release_is_called_so(release: bytes, tmp_path: Path) -> None:
    (tmp_path / "own.fab").write_bytes(release)
    app = read_app(tmp_path / "own.fab")
    assert differences(app, RELEASE) == {}
    assert CALLED_THE_RELEASE in "\n".join(describe_app(app, RELEASE))


@pytest.mark.parametrize(
    "name", ["evil.py", "numpy/__init__.py", "numpy/", "client/spy.py", "/client/app.py"]
)
def test_a_file_more_is_named_wherever_it_lies(name: str, files: Files, tmp_path: Path) -> None:
    changed = listed({**files, name: b""})
    app = read_app(packed(tmp_path, changed))
    assert differences(app, RELEASE)[name] == "not in this release"
    told = "\n".join(describe_app(app, RELEASE))
    assert f"{name}: not in this release" in told
    assert CALLED_THE_RELEASE not in told


@pytest.mark.parametrize("name", ["../client/app.py", "client/../client/app.py", "./client/app.py"])
def test_a_path_that_leads_elsewhere_is_not_the_file_it_leads_to(
    name: str, files: Files, tmp_path: Path
) -> None:
    own = files.pop("client/app.py")
    changed = found(tmp_path, listed({**files, name: own}))
    assert changed[name] == "not in this release"
    assert changed["client/app.py"] == "missing from the app"


def test_a_file_that_is_missing_is_named(files: Files, tmp_path: Path) -> None:
    del files["client/gate/reply_checks.py"]
    assert found(tmp_path, listed(files))["client/gate/reply_checks.py"] == "missing from the app"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_there_twice_is_named(files: Files, tmp_path: Path) -> None:
    path = packed(tmp_path, files, ("client/app.py", files["client/app.py"]))
    assert differences(read_app(path), RELEASE) == {"client/app.py": "there more than once"}


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        (b'"client.app:app"', b'"evil:app"', "tool.flwr.app.components.clientapp"),
        (b'report = "yes"', b'report = "no"', "tool.flwr.app.config.report"),
        (b'name = "fedlnm"', b'name = "fedlnn"', "project.name"),
        (b'version = "0.1.0"', b'version = "0.2.0"', "project.version"),
        (b"numpy>=2", b"numqy>=2", "project.dependencies"),
        (b"fab-format-version = 1", b"fab-format-version = true", "fab-format-version"),
    ],
)
def test_a_changed_setting_of_the_app_is_named(
    old: bytes, new: bytes, key: str, files: Files, tmp_path: Path
) -> None:
    before = files["pyproject.toml"]
    assert before.count(old) >= 1
    changed = listed({**files, "pyproject.toml": before.replace(old, new, 1)})
    different = found(tmp_path, changed)
    assert "changed" in different["pyproject.toml"]
    assert key in different["pyproject.toml"]


def test_the_same_settings_with_other_line_breaks_are_the_same(
    files: Files, tmp_path: Path
) -> None:
    spaced = b"# written by another library\n\n" + files["pyproject.toml"]
    assert found(tmp_path, listed({**files, "pyproject.toml": spaced})) == {}


@pytest.mark.parametrize("more", [b"", b"\nevil.py,00,8"])
def test_the_list_by_which_flower_checks_the_files_must_be_theirs(
    more: bytes, files: Files, tmp_path: Path
) -> None:
    content = files[".info/CONTENT"]
    shortened = content.rpartition(b"\n")[0] if not more else content + more
    assert found(tmp_path, {**files, ".info/CONTENT": shortened}) == {".info/CONTENT": "changed"}


def test_every_difference_is_named_and_the_verdict_stands_last_too(
    files: Files, tmp_path: Path
) -> None:
    few = {name: data for name, data in files.items() if not name.startswith("client/")}
    lines = list(describe_app(read_app(packed(tmp_path, listed(few))), RELEASE))
    gone = [name for name in files if name.startswith("client/")]
    assert all(f"  {name}: missing from the app" in lines for name in gone)
    assert lines[-1].startswith("it is NOT the release installed here")


def test_where_the_release_cannot_be_built_nothing_is_claimed(
    release: bytes, tmp_path: Path
) -> None:
    (tmp_path / "own.fab").write_bytes(release)
    told = "\n".join(describe_app(read_app(tmp_path / "own.fab"), tmp_path / "nowhere"))
    assert "NOT KNOWN" in told
    assert CALLED_THE_RELEASE not in told


@pytest.mark.parametrize("odd", ["\x1b[8m", "\nit is that of the release", "\u202e"])
def test_a_project_whose_name_does_not_print_is_no_app(
    odd: str, files: Files, tmp_path: Path
) -> None:
    for name in ("name", "version"):
        project = tomli_w.dumps({"project": {"name": "a", "version": "1", name: f"a{odd}"}})
        path = packed(tmp_path, {**files, "pyproject.toml": project.encode()})
        with pytest.raises(InputError, match="not a FAB file"):
            read_app(path)


def test_a_project_without_a_name_is_no_app(files: Files, tmp_path: Path) -> None:
    path = packed(tmp_path, {**files, "pyproject.toml": b"[project]\nname = 7\nversion = '1'\n"})
    with pytest.raises(InputError, match="not a FAB file"):
        read_app(path)
