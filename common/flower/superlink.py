"""Flower's SuperLink as the coordinator runs it, whose calls take turns at its file.

`python -m common.flower.superlink` takes the arguments of flower-superlink; people use
`fedlnm-server run`.

Flower gives every call a connection of its own to the SuperLink's SQLite file. Nearly all of them
write, and where two meet the second sleeps for up to a tenth of a second, though the first takes a
millisecond. One process is all that uses the file, so here the next one goes on as soon as the last
is done. Looking for programs that died, which nearly every call does before anything else, is done
once a second.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

from flwr.supercore.corestate.sql_corestate import SqlCoreState
from flwr.supercore.sql_mixin import SqlMixin
from flwr.superlink.cli.flower_superlink import flower_superlink

from common.flower.held_calls import held_calls
from common.flower.layers import passed_by
from common.flower.seam import check_seam

LOOK_SECONDS = 1.0
"""Time between two looks for programs that died."""
SEAM = ((SqlMixin, "session", "self"), (SqlCoreState, "_cleanup_expired_task_tokens", "self"))
"""Methods that are replaced."""


def take_turns() -> None:
    """Let the calls of the SuperLink in this process take turns at its file.

    Raises
    ------
    StudyError : another release of Flower than this was written for.
    """
    check_seam("the coordinator", SEAM, where="SuperLink")
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

    for (owner, name, _), method in zip(SEAM, (session_in_turn, clean_now_and_then), strict=True):
        setattr(owner, name, method)


def main() -> None:
    """Run it until it is stopped."""
    sys.argv[0] = "flower-superlink"
    take_turns()
    with held_calls(), passed_by():
        flower_superlink()


if __name__ == "__main__":
    main()
