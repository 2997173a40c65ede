"""A study file says which release prepared it, so that another one can name both."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import InputError
from common.study.model import load_study
from common.study.release_mark import mark, marked_release, other_release, own_release
from common.utils.versions import PACKAGE
from tests import builders


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    return builders.study_file(tmp_path / "study.toml")


def of_release(path: Path, version: str) -> Path:
    """Mark a file as one that another release prepared."""
    text = mark(path).read_text(encoding="utf-8")
    path.write_text(text.replace(own_release(), version, 1), encoding="utf-8")
    return path


def test_the_mark_is_no_part_of_the_study(study_file: Path) -> None:
    before = load_study(study_file)
    assert marked_release(study_file) == ""
    mark(study_file)
    assert marked_release(study_file) == own_release()
    assert load_study(study_file).digest() == before.digest()
    assert other_release(study_file) is None


@pytest.mark.parametrize("version", ["0.0.9", "99.1"])
def test_an_older_or_newer_release_is_named_with_which_to_install(
    study_file: Path, version: str
) -> None:
    found = other_release(of_release(study_file, version))
    assert found == (
        f"the coordinator prepared it with release {version}, and release {own_release()} is"
        " installed here",
        f"install release {version} here: coordinator and hospitals of a study run releases that"
        " share their first two numbers",
    )


def test_a_release_that_differs_in_the_third_number_is_no_other(study_file: Path) -> None:
    patched = f"{own_release().rpartition('.')[0]}.99"
    assert other_release(of_release(study_file, patched)) is None


def test_a_setting_of_a_newer_release_is_explained_by_the_release(study_file: Path) -> None:
    of_release(study_file, "99.1")
    text = study_file.read_text(encoding="utf-8").replace("\n", "\nnew_setting = 1\n", 1)
    study_file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"new_setting.*prepared it with release 99\.1") as caught:
        load_study(study_file)
    assert caught.value.remedy.startswith("install release 99.1 here")


def test_a_first_line_of_another_kind_is_no_mark(study_file: Path) -> None:
    text = study_file.read_text(encoding="utf-8")
    study_file.write_text(f"# Prepared by {PACKAGE} \x1b[31m\n{text}", encoding="utf-8")
    assert marked_release(study_file) == ""
