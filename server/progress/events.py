"""Events of a run as they happen, appended to events.jsonl and passed to a listener.

Of the run: started, resumed (both with the phases and rounds planned), phase, phase_done, round,
stacker, refused, not_enrolled (the table of all that stands against the study), restarted,
finished, failed, crashed, implausible (a total that cannot be true). Of its sites: enrolled,
foretold (what one will withhold), may_leave (it consented to), contact (a reply was taken), waiting
(who is late, every half minute), lost, asked_again, late_reply, stray_reply, keys_renewed (its
program was started again), objected (to weights that score its held-out patients far worse),
went_on (a round, without sites), not_signed (a round that is asked again), all_needed (a training
whose rounds wait for all, as a site signs no more sums without some).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Listener = Callable[[dict[str, Any]], None]


@dataclass
class Events:
    """Log of one JSON line an event: time (seconds since the epoch), kind, and details."""

    path: Path | None = None
    listener: Listener | None = None

    def __post_init__(self) -> None:
        if self.path is not None:
            _end_torn_line(self.path)

    def emit(self, kind: str, **details: Any) -> None:
        """Record an event."""
        event = {"time": round(time.time(), 3), "kind": kind, **details}
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")
        if self.listener is not None:
            self.listener(event)


class EventTail:
    """The events of a file that grows, each read once.

    A line that is being written is left for later, and what a killed program left of one is
    passed over.

    Parameters
    ----------
    offset : byte of the file at which to begin.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path, self._offset = path, offset
        self._events: list[dict[str, Any]] = []

    def new(self) -> list[dict[str, Any]]:
        """Return the events written since the last call; none before the file exists."""
        size = self._path.stat().st_size if self._path.is_file() else 0
        if size < self._offset:  # another run has begun in the same folder
            self._offset, self._events = 0, []
        if size == self._offset:
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        complete = data[: data.rfind(b"\n") + 1]
        self._offset += len(complete)
        found = []
        for line in complete.splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        self._events += found
        return found

    def events(self) -> list[dict[str, Any]]:
        """Return all events so far."""
        self.new()
        return self._events


def read_events(path: Path, offset: int = 0) -> list[dict[str, Any]]:
    """Return the events that begin at or after this byte of a file."""
    return EventTail(path, offset).new()


def _end_torn_line(path: Path) -> None:
    """End a half-written line of a killed program, so that the next does not stick to it."""
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("rb") as file:
        file.seek(-1, 2)
        torn = file.read(1) != b"\n"
    if torn:
        with path.open("ab") as file:
            file.write(b"\n")
