"""Flower's SuperLink as the coordinator runs it, whose calls take turns at its file.

`python -m common.flower.superlink` takes the arguments of flower-superlink; people use
`fedlnm-server run`.

Flower gives every call a connection of its own to the SuperLink's SQLite file. Nearly all of them
write, and where two meet the second sleeps for up to a tenth of a second, though the first takes a
millisecond. One process is all that uses the file, so here the next one goes on as soon as the last
is done. Looking for programs that died, which nearly every call does before anything else, is done
once a second. A study's program has two minutes to start: where it took longer than Flower's half
minute, as several that start side by side may, another one was started in its place, which had the
less time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import RLock
from typing import Any, cast

from flwr.supercore.corestate.sql_corestate import SqlCoreState
from flwr.supercore.date import now
from flwr.supercore.sql_mixin import SqlMixin
from flwr.supercore.state.schema.corestate_models import Task
from flwr.superlink.cli.flower_superlink import flower_superlink

from common.flower.held_calls import held_calls
from common.flower.layers import passed_by
from common.flower.seam import check_seam

LOOK_SECONDS = 1.0
"""Time between two looks for programs that died."""
START_SECONDS = 120.0
"""Time in which a program has to say that it has started."""
SEAM = (
    (SqlMixin, "session", "self"),
    (SqlCoreState, "_cleanup_expired_task_tokens", "self"),
    (SqlCoreState, "claim_task", "self task_id"),
)
"""Methods that are replaced."""


def take_turns() -> None:
    """Let the calls of the SuperLink in this process take turns, and programs start slowly.

    Raises
    ------
    StudyError : another release of Flower than this was written for.
    """
    check_seam("the coordinator", SEAM, where="SuperLink")
    session, clean = SqlMixin.session, SqlCoreState._cleanup_expired_task_tokens
    claim, claims = SqlCoreState.claim_task, cast(Any, Task.__table__).update()
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

    def claim_for_longer(self: SqlCoreState, task_id: int) -> str | None:
        if (token := claim(self, task_id)) is not None:
            limit = now() + timedelta(seconds=START_SECONDS)
            with self.session() as own:
                own.execute(claims.where(Task.token == token).values(active_until=limit))
        return token

    methods = (session_in_turn, clean_now_and_then, claim_for_longer)
    for (owner, name, _), method in zip(SEAM, methods, strict=True):
        setattr(owner, name, method)


def main() -> None:
    """Run it until it is stopped."""
    sys.argv[0] = "flower-superlink"
    take_turns()
    with held_calls(), passed_by():
        flower_superlink()


if __name__ == "__main__":
    main()
