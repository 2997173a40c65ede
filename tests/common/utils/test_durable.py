"""Folders for one user alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.utils.durable import make_folder, open_folder, rotate, write_durably


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


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "site.log"


def test_a_small_log_and_none_stay_as_they_are(log: Path) -> None:
    assert not rotate(log)
    log.write_text("line\n")
    assert not rotate(log, most=100)
    assert log.read_text() == "line\n"


def test_a_program_that_holds_a_log_open_goes_on_in_the_emptied_file(log: Path) -> None:
    log.touch(mode=0o600)
    with log.open("a") as writing:
        writing.write("before\n")
        writing.flush()
        assert rotate(log, most=3)
        writing.write("after\n")
    assert log.read_text() == "after\n"
    aside = log.with_name("site.log.1")
    assert aside.read_text() == "before\n"
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600


def test_only_the_newest_are_kept(log: Path) -> None:
    for number in range(5):
        log.write_text(f"{number}\n")
        rotate(log, most=1, kept=2)
    assert {path.name: path.read_text() for path in log.parent.iterdir()} == {
        "site.log": "",
        "site.log.1": "4\n",
        "site.log.2": "3\n",
    }
