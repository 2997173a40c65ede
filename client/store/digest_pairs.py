"""Pairs of digests in a file, one a line, that several processes of a site add to and look up."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from common.utils.durable import alone, append_durably

_LINE = re.compile(rb"([0-9a-f]{64}) ([0-9a-f]{64})\n")


class DigestPairs:
    """Grows only. A line that a crash tore counts for nothing: what it stood for never left.

    Parameters
    ----------
    path : private to the site; a lock lies beside it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looked = 0

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes out, to look and then add as one step."""
        with alone(self._path.with_suffix(".lock")):
            yield

    def new(self) -> list[tuple[str, str]]:
        """Pairs that were added since the last call, by whichever process; at first, all."""
        if not self._path.is_file():
            return []
        with self._path.open("rb") as file:
            file.seek(self._looked)
            data = file.read()
        self._looked += data.rfind(b"\n") + 1
        matches = map(_LINE.fullmatch, data.splitlines(keepends=True))
        return [(one[1].decode(), one[2].decode()) for one in matches if one]

    def add(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Add pairs; they are on the disk when this returns."""
        text = "".join(f"{first} {second}\n" for first, second in pairs)
        if text:
            append_durably(self._path, self._end_of_torn_line() + text.encode())

    def _end_of_torn_line(self) -> bytes:
        if not self._path.is_file() or not self._path.stat().st_size:
            return b""
        with self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return b"" if file.read(1) == b"\n" else b"\n"
