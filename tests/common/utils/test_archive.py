"""A folder is packed into one private file and put back as it was, over nothing."""

from __future__ import annotations

import json
import stat
import tarfile
from pathlib import Path

import pytest

from common.errors import InputError
from common.utils.archive import HEAD, pack, read_head, unpack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    (root / "keys").mkdir(parents=True)
    (root / "keys" / "identity.pem").write_text("secret")
    (root / "keys" / "identity.pem").chmod(0o600)
    (root / "logs").mkdir()
    (root / "logs" / "site.log").write_text("line")
    (root / "site.toml").write_text("name")
    (root / "elsewhere").symlink_to("/etc")
    return root


def test_what_is_wanted_comes_back_with_its_rights(folder: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "backup.tar", tmp_path / "back"
    pack(folder, out, {"of": "site"}, lambda path: path.parts[0] != "logs")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert read_head(out, "site")["of"] == "site"
    unpack(out, back)
    assert {str(path.relative_to(back)) for path in back.rglob("*")} == {
        "keys",
        "keys/identity.pem",
        "site.toml",
    }
    key = back / "keys" / "identity.pem"
    assert (key.read_text(), stat.S_IMODE(key.stat().st_mode)) == ("secret", 0o600)


def test_nothing_is_ever_overwritten(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "backup.tar"
    pack(folder, out, {"of": "site"}, lambda _: True)
    with pytest.raises(
        InputError, match=r"there is such a file -> give another name, such as \S+-2\d{7}-\d{4}"
    ):
        pack(folder, out, {"of": "site"}, lambda _: True)
    with pytest.raises(InputError, match="a backup overwrites nothing"):
        unpack(out, folder)


@pytest.mark.parametrize("content", [b"", b"no archive", b"\0" * 2048])
def test_another_file_is_no_backup(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file.tar"
    file.write_bytes(content)
    with pytest.raises(InputError, match="not a backup"):
        read_head(file, "site")


def test_a_backup_of_the_other_side_is_told_apart(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "backup.tar"
    pack(folder, out, {"of": "coordinator"}, lambda _: True)
    with pytest.raises(InputError, match="not a backup of a site"):
        read_head(out, "site")


def test_a_file_that_would_lie_outside_is_not_unpacked(tmp_path: Path) -> None:
    out = tmp_path / "backup.tar"
    with tarfile.open(out, "w") as archive:
        head = tmp_path / HEAD
        head.write_text(json.dumps({"of": "site"}))
        archive.add(head, HEAD)
        archive.add(head, "../outside")
    with pytest.raises((InputError, tarfile.TarError)):
        unpack(out, tmp_path / "back")
    assert not (tmp_path / "outside").exists()
