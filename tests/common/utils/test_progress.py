"""Long work shows how far it is: a bar on a terminal, lines in a log."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from common.utils.console import LINE_SECONDS, ProgressBar


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def shown(terminal: bool) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=100, force_terminal=terminal), out


def test_a_log_gets_a_line_every_few_seconds_with_the_time_left_and_one_at_the_end() -> None:
    console, out = shown(terminal=False)
    clock = Clock()
    with ProgressBar(console, "north", clock) as show:
        for done in range(1, 41):
            clock.now += 1.0
            show(done, 40, f"north-{done:03d}")
    lines = out.getvalue().splitlines()
    assert lines[-1] == "  north: 40/40 north-040"
    assert lines[0].startswith("  north: 7/40 north-007 (about ")
    assert len(lines) <= 40 / LINE_SECONDS + 1
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize(("step", "words"), [(2.0, "about 68 s left"), (60.0, "about 33 min left")])
def test_the_time_left_follows_the_speed_so_far(step: float, words: str) -> None:
    console, out = shown(terminal=False)
    clock = Clock()
    with ProgressBar(console, "", clock) as show:
        show(0, 40, "")
        for done in range(1, 8):
            clock.now += step
            show(done, 40, "x")
    assert words in out.getvalue()


def test_a_new_stage_begins_anew() -> None:
    console, out = shown(terminal=False)
    clock = Clock()
    with ProgressBar(console, "", clock) as show:
        clock.now = 600.0
        show(3, 3, "first")
        show(1, 9, "second")
        clock.now = 606.0
        show(2, 9, "second")
    assert out.getvalue().splitlines() == ["  3/3 first", "  2/9 second (about 21 s left)"]


def test_a_terminal_gets_a_bar_that_is_gone_afterwards_and_markup_stays_text() -> None:
    console, out = shown(terminal=True)
    with ProgressBar(console, "[bold]north") as show:
        show(1, 4, "[red]p1")
        show(2, 4, "[red]p2")
    assert "2/4" in out.getvalue()
    assert "[red]p2" in out.getvalue()
    assert "[bold]north" in out.getvalue()
