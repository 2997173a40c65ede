"""The events of a file that grows, each read once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class EventTail:
    """Remembers what it has read: a page that asks every two seconds must not cost a whole file."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0
        self._events: list[dict[str, Any]] = []

    def events(self) -> list[dict[str, Any]]:
        """All events so far; none before the file exists, and no half line."""
        size = self._path.stat().st_size if self._path.is_file() else 0
        if size < self._offset:  # another run has begun in the same folder
            self._offset, self._events = 0, []
        if size > self._offset:
            self._read()
        return self._events

    def _read(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        complete = data[: data.rfind(b"\n") + 1]
        self._offset += len(complete)
        for line in complete.splitlines():
            try:
                event = json.loads(line)
            except ValueError:  # what a killed program left of a line
                continue
            self._events.append(event)
