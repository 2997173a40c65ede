"""A site's standing is what its people can watch: connected, at work, or in need of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.gate.standing import FILE, WRITE_SECONDS, Need, Standing, StandingFile, read_standing


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_was_noted_is_read_by_another_program_and_after_a_restart(
    tmp_path: Path, clock: Clock
) -> None:
    one = StandingFile(tmp_path, clock)
    one.polled()
    one.asked("larynx", enrols=True)
    one.needs("not_derived")
    there = read_standing(tmp_path)
    assert (there.polled, there.asked, there.running) == (1000.0, 1000.0, {"larynx": 1000.0})
    assert there.needs == (Need("not_derived", "", 1000.0),)
    assert StandingFile(tmp_path, clock).now == there
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["", "{", '{"polled": "soon"}', '{"needs": [1]}'])
def test_a_file_that_cannot_be_read_is_an_empty_standing(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    assert read_standing(tmp_path) == Standing()


def test_a_need_lasts_until_its_study_is_answered_or_a_run_begins(
    tmp_path: Path, clock: Clock
) -> None:
    one = StandingFile(tmp_path, clock)
    one.needs("study_not_approved")
    one.answered("larynx", ("rule min_rows", "files"))
    clock.now += 5.0
    one.answered("larynx", ("rule min_rows",))
    one.answered("other", ())
    assert one.now.needs == (
        Need("study_not_approved", "", 1000.0),
        Need("rule min_rows", "larynx", 1000.0),
        Need("files", "larynx", 1000.0),
    )
    one.asked("larynx", enrols=False)
    assert len(one.now.needs) == 3
    one.asked("larynx", enrols=True)
    one.answered("larynx", ())
    assert one.now.needs == ()


def test_what_passes_by_itself_needs_nobody(tmp_path: Path) -> None:
    one = StandingFile(tmp_path)
    one.needs("restarted", "larynx")
    assert one.now.needs == ()


def test_a_study_is_under_way_or_finished(clock: Clock) -> None:
    one = StandingFile(None, clock)
    one.asked("larynx", enrols=True)
    one.finished("larynx")
    assert (one.now.running, one.now.ended) == ({}, {"larynx": 1000.0})
    one.asked("larynx", enrols=True)
    assert (one.now.running, one.now.ended) == ({"larynx": 1000.0}, {})


def test_a_quiet_coordinator_is_noted_now_and_then(tmp_path: Path, clock: Clock) -> None:
    one = StandingFile(tmp_path, clock)
    one.polled()
    clock.now += WRITE_SECONDS / 2
    one.polled()
    assert read_standing(tmp_path).polled == 1000.0
    clock.now += WRITE_SECONDS
    one.polled()
    assert read_standing(tmp_path).polled == clock.now


def test_a_disk_that_is_full_stops_no_answer(tmp_path: Path) -> None:
    one = StandingFile(tmp_path / "gone")
    one.answered("larynx", ())
    assert one.now.answered > 0
