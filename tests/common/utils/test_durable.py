"""Folders for one user alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.utils.durable import make_folder, open_folder, write_durably


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_every_folder_that_is_made_is_for_one_user_alone(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b" / "c")
    assert {mode(tmp_path / "a" / name) for name in ("", "b", "b/c")} == {0o700}
    write_durably(tmp_path / "d" / "e" / "file", b"")
    assert {mode(tmp_path / "d" / name) for name in ("", "e")} == {0o700}


def test_a_folder_that_is_there_is_left_as_it_is_unless_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    make_folder(tmp_path / "there" / "new")
    assert mode(tmp_path / "there") == 0o755
    open_folder(tmp_path / "there")
    assert mode(tmp_path / "there") == 0o700


def test_what_the_owner_closed_further_stays_so(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    open_folder(tmp_path / "closed")
    assert mode(tmp_path / "closed") == 0o500


def test_another_users_folder_is_left_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    open_folder(tmp_path / "theirs")
    assert mode(tmp_path / "theirs") == 0o755
