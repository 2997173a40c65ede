"""The file that Flower's SuperLink keeps its messages in, made ready for large ones."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

PAGE_BYTES = 65536


def prepare_database(path: Path) -> None:
    """Make the file with the largest pages there are; one that is there already stays as it is.

    A part of a network's weights is 5 MiB: SQLite's usual pages of 4 KiB make a chain of 1280 of
    it, which costs the SuperLink about twice the time. The size can only be chosen before anything
    is written.
    """
    if path.exists():
        return
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL")
