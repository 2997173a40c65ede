"""A hospital's screen says what its site does, once a change, and when a study is finished."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from client.gate.attendance import QUIET_SECONDS, Attendance
from client.site import LOG
from common.messages.exchanges import EnrolRequest, EvaluateRequest, SumRequest, TrainRequest


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attendance(clock: Clock, caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.INFO, LOG.name)
    return Attendance("north", clock)


def of(kind: type, **values: Any) -> Any:
    request = kind.__new__(kind)
    for name, value in {"run": "r1", **values}.items():
        object.__setattr__(request, name, value)
    return request


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().removeprefix("site north: ") for record in caplog.records]


def test_a_run_is_told_in_one_line_a_change(attendance: Any, caplog: Any) -> None:
    attendance.asked(of(EnrolRequest), "larynx")
    attendance.polled()
    for _ in range(3):
        attendance.asked(of(SumRequest), "larynx")
    for variant in ("fold-1", "fold-1", "fold-2"):
        attendance.asked(of(TrainRequest, network="dl2d", variant=variant), "larynx")
    assert lines(caplog) == [
        "connected to the coordinator; waiting for questions of approved studies",
        "run r1: takes part in the study larynx",
        "run r1: answers with sums",
        "run r1: trains dl2d, fold-1",
        "run r1: trains dl2d, fold-2",
    ]


def test_the_end_is_said_once_with_the_answer_to_the_last_question(
    attendance: Any, caplog: Any
) -> None:
    attendance.answered(of(EvaluateRequest), "larynx", last=False)
    attendance.answered(of(SumRequest), "larynx", last=False)
    assert lines(caplog) == []
    attendance.answered(of(SumRequest), "larynx", last=True)
    attendance.answered(of(SumRequest), "larynx", last=True)
    (line,) = lines(caplog)
    assert line.startswith(
        "the study larynx is finished here: every question of run r1 is answered"
    )


def test_a_run_that_is_not_derived_ends_when_nothing_comes_after_its_evaluation(
    attendance: Any, clock: Clock, caplog: Any
) -> None:
    attendance.polled()
    attendance.answered(of(EvaluateRequest), "larynx", last=False)
    clock.now = QUIET_SECONDS - 1
    attendance.asked(of(SumRequest), "larynx")
    clock.now = QUIET_SECONDS + 1
    attendance.polled()
    assert "finished" not in lines(caplog)[-1]
    clock.now = 2 * QUIET_SECONDS
    attendance.polled()
    assert lines(caplog)[-1].startswith("the study larynx is finished here")


def test_two_runs_at_once_are_told_apart(attendance: Any, clock: Clock, caplog: Any) -> None:
    for _ in range(2):
        for run, study in (("r1", "larynx"), ("r2", "pharynx")):
            attendance.asked(of(SumRequest, run=run), study)
    for run, study in (("r1", "larynx"), ("r2", "pharynx")):
        attendance.answered(of(EvaluateRequest, run=run), study, last=False)
    clock.now += QUIET_SECONDS - 1
    attendance.asked(of(SumRequest, run="r2"), "pharynx")
    clock.now += 2
    attendance.polled()
    told = lines(caplog)
    assert told[1:3] == ["run r1: answers with sums", "run r2: answers with sums"]
    (end,) = told[3:]
    assert end.startswith("the study larynx is finished here: every question of run r1")
