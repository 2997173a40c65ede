"""Show other programs of this machine that one is alive: it holds a file that its end lets go."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WAIT_SECONDS, _PAUSE = 5.0, 0.01
"""Time for which somebody else may have the file: whoever looks has it for an instant."""


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """Hold a file while the block lasts; the system lets it go however this program ends.

    A file that another program holds for long stays with that one.
    """
    with path.open("a") as file:
        deadline = time.monotonic() + WAIT_SECONDS
        while not _taken(file.fileno(), fcntl.LOCK_EX) and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        yield


def is_held(path: Path) -> bool:
    """Tell if a program holds a file; False before there is one."""
    if not path.is_file():
        return False
    with path.open("a") as file:
        return not _taken(file.fileno(), fcntl.LOCK_SH)


def _taken(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
