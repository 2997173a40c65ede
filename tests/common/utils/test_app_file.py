"""The app of a release: what Flower itself would build of its folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from flwr.cli.build import build_fab_from_disk

from common.errors import StudyError
from common.utils.app_file import PACKAGES, RELEASE, build_app


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "fedlnm"
    folder.mkdir()
    for name in PACKAGES:
        shutil.copytree(RELEASE / name, folder / name)
    for name in ("pyproject.toml", "LICENSE", "README.md", ".gitignore"):
        shutil.copy(RELEASE / name, folder / name)
    return folder


def test_it_is_what_flower_builds_of_the_whole_folder(checkout: Path) -> None:
    (checkout / "notes").mkdir()
    (checkout / "notes" / "own.py").write_text("other = 1\n")
    assert build_app(checkout) == build_fab_from_disk(checkout) == build_app()


def test_a_folder_that_is_no_checkout_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="the project's folder, which is not here"):
        build_app(tmp_path)


def test_what_flower_refuses_is_told_in_its_words(checkout: Path) -> None:
    (checkout / "pyproject.toml").write_text('[project]\nname = "fedlnm"\n')
    with pytest.raises(StudyError, match="Flower cannot make an app of it"):
        build_app(checkout)
