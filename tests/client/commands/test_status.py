"""A hospital's people read where the study is."""

from __future__ import annotations

import pytest

from client.commands.status import RunSeen, Waited, described


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3.0, "less than a minute"),
        (50.0, "about 1 min"),
        (3599.0, "about 1 h 00 min"),
        (7260.0, "about 2 h 01 min"),
    ],
)
def test_times_are_said_as_exactly_as_they_are_known(seconds: float, words: str) -> None:
    run = RunSeen(
        run="larynx-1",
        study="larynx",
        state="under way",
        begun=0.0,
        now=10_000.0,
        phase="Table 1",
        number=2,
        phases=5,
        rounds_done=0,
        rounds_planned=0,
        done=0.25,
        seconds_left=seconds,
        waits_for=[Waited(site="qilu", since=10_000.0 - seconds, connected=False)],
    )
    said = list(described(run, "qilu"))
    assert f"  done: 25 %, {words} left" in said
    assert f"  waits for qilu (THIS HOSPITAL), for {words}, not connected" in said
