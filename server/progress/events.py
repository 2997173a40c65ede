"""What happens in a run, as it happens: appended to events.jsonl, told to whoever listens.

Of the run: started, resumed (both with the phases and rounds planned), phase, phase_done, round,
stacker, refused, not_enrolled (the table of all that stands against the study), restarted,
finished, failed, crashed. Of its sites: enrolled, foretold (what one will withhold), contact (a
reply was taken), waiting (who is late, every half minute), lost, asked_again, late_reply,
stray_reply.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Listener = Callable[[dict[str, Any]], None]


@dataclass
class Events:
    """One line of JSON an event: time (seconds since the epoch), kind, and what the kind says."""

    path: Path | None = None
    listener: Listener | None = None

    def __post_init__(self) -> None:
        if self.path is not None:
            _end_torn_line(self.path)

    def tell(self, kind: str, **details: Any) -> None:
        """Record an event."""
        event = {"time": round(time.time(), 3), "kind": kind, **details}
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")
        if self.listener is not None:
            self.listener(event)


def read_events(path: Path, offset: int = 0) -> Iterator[dict[str, Any]]:
    """Events that begin at or after this byte of a file.

    A line that is being written is left out, and so is what a killed program left of one.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            try:
                event = json.loads(line)
            except ValueError:
                continue
            yield event


def _end_torn_line(path: Path) -> None:
    """What comes next must not stick to half a line of a program that was killed."""
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("rb") as file:
        file.seek(-1, 2)
        torn = file.read(1) != b"\n"
    if torn:
        with path.open("ab") as file:
            file.write(b"\n")
