"""One run at a time in a coordinator's folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import StudyError
from server.deployment.folder import CoordinatorFolder


@contextmanager
def only_one(folder: CoordinatorFolder) -> Iterator[None]:
    """The right to run something in this folder, given to one process at a time.

    Raises
    ------
    StudyError : another process has it.
    """
    with (folder.state / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StudyError(
                "a run is under way in this folder",
                where=str(folder.root),
                remedy="see fedlnm-server status; wait, or end it with Ctrl-C",
            ) from None
        yield
