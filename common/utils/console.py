"""The two consoles of every program: results on standard output, the rest on standard error."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as TimeLeft
from rich.segment import Segment

from common.utils.text_file import escaped, on_one_line

LINE_SECONDS = 5.0
_SURE_SECONDS = 2.0


class ProgressBar:
    """Progress of a piece of work; call it with the amount done, the total, and the current step.

    Work of several stages starts anew whenever the total changes or less is done than before.

    Parameters
    ----------
    console : destination.
    label : prefix, such as the name of a hospital.
    clock : returns seconds.

    Examples
    --------
    >>> console = Console(width=60)
    >>> with ProgressBar(console, "north") as show:
    ...     show(2, 2, "north-002")
      north: 2/2 north-002
    """

    def __init__(
        self, console: Console, label: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console, self._label, self._clock = console, label, clock
        self._began = self._shown = clock()
        self._stage = (0, 0)
        self._task: TaskID | None = None
        self._bar = Progress(
            TextColumn("  {task.fields[label]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeLeft(),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int, what: str) -> None:
        """Show the amount done of a total, the last step being `what`."""
        now = self._clock()
        before, total_before = self._stage
        if total != total_before or done < before:
            self._began = self._shown = now
            self._restart(total)
        self._stage = (done, total)
        text = on_one_line(what)
        if self._console.is_terminal:
            if self._task is not None:
                self._bar.update(self._task, completed=done, description=escape(text))
        elif done >= total or now - self._shown > LINE_SECONDS:
            self._shown = now
            prefix = f"{self._label}: " if self._label else ""
            line = f"  {prefix}{done}/{total} {text}{self._left(done, total, now)}"
            self._console.print(line, highlight=False, markup=False)

    def _restart(self, total: int) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task("", total=total, label=escape(self._label))

    def _left(self, done: int, total: int, now: float) -> str:
        """Estimate the remaining time from the speed so far."""
        spent = now - self._began
        if not 0 < done < total or spent < _SURE_SECONDS:
            return ""
        seconds = spent / done * (total - done)
        return (
            f" (about {seconds:.0f} s left)"
            if seconds < 120
            else (f" (about {seconds / 60:.0f} min left)")
        )


WIDTH = 110


class PlainConsole(Console):
    """Console that prints any text literally, whoever wrote it.

    Styles come from the console itself; control sequences within a text are spelled out instead.
    """

    def emit(self, text: object) -> None:
        """Print one line, whatever the text holds."""
        self.print(on_one_line(str(text)), highlight=False, markup=False)

    def error(self, error: Exception) -> None:
        """Print an error on one line."""
        self.print(f"[red]error[/red] {escape(on_one_line(str(error)))}", highlight=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render like rich, but without control sequences from any text."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else escaped(text), style, control)


class PlainFormatter(logging.Formatter):
    """Formatter of logs shown on a screen, which prints any text literally."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record with non-printable characters spelled out."""
        return escaped(super().format(record))


def consoles() -> tuple[PlainConsole, PlainConsole]:
    """Return standard output and standard error; without a terminal, lines are wide enough."""

    def console(stderr: bool) -> PlainConsole:
        probe = Console(stderr=stderr)
        width = None if probe.is_terminal else max(WIDTH, shutil.get_terminal_size().columns)
        settings: dict[str, Any] = {"soft_wrap": True, "emoji": False, "width": width}
        return PlainConsole(stderr=stderr, **settings)

    return console(False), console(True)
