"""Flower's SuperLink, whose calls take turns at its file.

Flower gives every call a connection of its own to the SuperLink's SQLite file. Nearly all of them
write, and where two meet the second sleeps for up to a tenth of a second, though the first takes a
millisecond. One process is all that uses the file, so here the next one goes on as soon as the last
is done. Looking for programs that died, which nearly every call does before anything else, is done
once a second.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

from flwr.supercore.corestate.sql_corestate import SqlCoreState
from flwr.supercore.sql_mixin import SqlMixin
from flwr.supercore.version import package_version
from flwr.superlink.cli.flower_superlink import flower_superlink

from common.errors import StudyError
from common.flower.app import FLOWER

__all__ = ["check_seam", "flower_superlink", "take_turns"]
LOOK_SECONDS = 1.0
"""Time between two looks for programs that died."""
SEAM = ((SqlMixin, "session"), (SqlCoreState, "_cleanup_expired_task_tokens"))
"""Methods that are replaced; they have no parameters."""


def check_seam() -> None:
    """Return if the methods that are replaced are as they were.

    Raises
    ------
    StudyError : another release, or a method is gone or has parameters.
    """
    moved = [name for owner, name in SEAM if _parameters(owner, name) != ["self"]]
    if package_version != FLOWER or moved:
        raise StudyError(
            f"Flower {package_version} is not the one that the coordinator was made for"
            + (f" ({', '.join(moved)})" if moved else ""),
            where="SuperLink",
            remedy=f"install flwr {FLOWER}",
        )


def _parameters(owner: type, name: str) -> list[str]:
    method = vars(owner).get(name)
    return list(inspect.signature(method).parameters) if method else []


def take_turns() -> None:
    """Let the calls of the SuperLink in this process take turns at its file.

    Raises
    ------
    StudyError : another release of Flower than this was written for.
    """
    check_seam()
    session, clean = SqlMixin.session, SqlCoreState._cleanup_expired_task_tokens
    turn = RLock()
    looked = -LOOK_SECONDS

    @contextmanager
    def session_in_turn(self: SqlMixin) -> Iterator[Any]:
        with turn, session(self) as found:
            yield found

    def clean_now_and_then(self: SqlCoreState) -> None:
        nonlocal looked
        if time.monotonic() - looked >= LOOK_SECONDS:
            looked = time.monotonic()
            clean(self)

    for (owner, name), method in zip(SEAM, (session_in_turn, clean_now_and_then), strict=True):
        setattr(owner, name, method)
