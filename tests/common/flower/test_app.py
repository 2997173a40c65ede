"""The app of a release: two files, no code, the same bytes wherever the release is installed."""

from __future__ import annotations

import sys
import tomllib
import zipfile
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flwr.cli.build import build_fab_from_disk, build_fab_from_files
from flwr.cli.install import install_from_fab
from flwr.common.config import get_fab_config, get_metadata_from_config

from common.errors import StudyError
from common.flower.app import FlowerApp, installed_app
from common.utils.versions import minor_release

ROOT = Path(__file__).resolve().parents[3]
FILES = ["pyproject.toml", "LICENSE", ".info/CONTENT"]


def names(fab: bytes) -> list[str]:
    with zipfile.ZipFile(BytesIO(fab)) as archive:
        return archive.namelist()


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """Flower reads an app, apart from what `flwr build` packs."""
    app = config["tool"]["flwr"]["app"]
    return {key: value for key, value in app.items() if key != "fab-include"}


def test_the_app_holds_its_configuration_a_licence_and_nothing_else() -> None:
    assert names(installed_app().content) == FILES


def test_the_same_release_gives_the_same_bytes_and_another_release_others() -> None:
    """The digest is written down: it must not depend on this machine's Python or libraries."""
    assert FlowerApp("1.2.3").content == FlowerApp("1.2.3").content
    assert FlowerApp("1.2.3").digest != FlowerApp("1.2.4").digest
    assert (
        FlowerApp("1.2.3").digest
        == "4675ca60c15ea930294b723359f9ff529535391a07cd419d2d51946c6a311b89"
    )


def test_the_app_is_of_the_minor_release_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert metadata.version("fedlnm").startswith(f"{installed_app().version}.")
    own = installed_app()
    for version, same in {f"{own.version}.99": True, f"{own.version}9.0": False}.items():
        monkeypatch.setattr(metadata, "version", lambda _, version=version: version)
        assert (installed_app().content == own.content) is same


def test_a_checkout_that_is_not_installed_has_no_app(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(StudyError, match="not installed as a package"):
        installed_app()


def test_flower_takes_it_for_an_app_of_its_format() -> None:
    own = installed_app()
    built, form = build_fab_from_files(own.files)
    assert sorted(names(built)) == sorted(FILES)
    assert form.fab_format_version == 1
    assert get_metadata_from_config(get_fab_config(own.content)) == (own.identifier, own.version)


def test_flower_installs_it_and_finds_both_components_in_the_release(tmp_path: Path) -> None:
    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp
    from flwr.supercore.object_ref import load_app

    folder = install_from_fab(installed_app().content, tmp_path, skip_prompt=True)
    assert sorted(path.name for path in folder.rglob("*")) == ["LICENSE", "pyproject.toml"]
    components = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
    before = list(sys.path)
    try:
        client = load_app(components["components"]["clientapp"], RuntimeError, folder)
        server = load_app(components["components"]["serverapp"], RuntimeError, folder)
    finally:
        sys.path[:] = before
    assert isinstance(client, ClientApp)
    assert isinstance(server, ServerApp)


def test_the_checkouts_own_app_says_the_same_and_holds_no_code_either() -> None:
    """`flwr run .` builds it of pyproject.toml: the demonstration."""
    fab = build_fab_from_disk(ROOT)
    assert sorted(names(fab)) == sorted(FILES)
    own, checkout = get_fab_config(installed_app().content), get_fab_config(fab)
    assert settings(own) == settings(checkout)
    assert own["project"]["version"] == minor_release(checkout["project"]["version"])
    assert own["project"]["name"] == checkout["project"]["name"]
    required = [one for one in checkout["project"]["dependencies"] if one.startswith("flwr")]
    assert own["project"]["dependencies"][0].partition(">=")[2] in required[0]
