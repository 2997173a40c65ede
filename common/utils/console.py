"""The two consoles of every program: results on standard output, the rest on standard error."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment

from common.utils.printable import escaped, on_one_line

WIDTH = 110


class PlainConsole(Console):
    """A console on which text, whoever wrote it, is nothing but text.

    Colours and the like are the console's own; whatever a text itself would tell the terminal is
    spelled out instead.
    """

    def tell(self, text: object) -> None:
        """One line, whatever the text holds."""
        self.print(on_one_line(str(text)), highlight=False, markup=False)

    def error(self, error: Exception) -> None:
        """What went wrong, on one line."""
        self.print(f"[red]error[/red] {escape(on_one_line(str(error)))}", highlight=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As rich renders, but without commands to the terminal in any text."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else escaped(text), style, control)


class PlainFormatter(logging.Formatter):
    """Of logs that a person reads on a screen: text in them is nothing but text, too."""

    def format(self, record: logging.LogRecord) -> str:
        """As any formatter, with what does not print spelled out."""
        return escaped(super().format(record))


def consoles() -> tuple[PlainConsole, PlainConsole]:
    """Standard output and standard error; where neither is a terminal, lines are wide enough."""

    def console(stderr: bool) -> PlainConsole:
        probe = Console(stderr=stderr)
        width = None if probe.is_terminal else max(WIDTH, shutil.get_terminal_size().columns)
        settings: dict[str, Any] = {"soft_wrap": True, "emoji": False, "width": width}
        return PlainConsole(stderr=stderr, **settings)

    return console(False), console(True)
