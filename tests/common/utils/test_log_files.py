"""Logs are put aside before they fill a disk, while programs go on writing."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from common.utils.log_files import rotate


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
