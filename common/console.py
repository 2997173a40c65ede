"""The two consoles of every program: results on standard output, the rest on standard error."""

from __future__ import annotations

import shutil

from rich.console import Console

WIDTH = 110


def consoles() -> tuple[Console, Console]:
    """Standard output and standard error; where neither is a terminal, lines are wide enough."""

    def console(stderr: bool) -> Console:
        probe = Console(stderr=stderr)
        width = None if probe.is_terminal else max(WIDTH, shutil.get_terminal_size().columns)
        return Console(stderr=stderr, soft_wrap=True, emoji=False, width=width)

    return console(False), console(True)
