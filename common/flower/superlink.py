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

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import BoundedSemaphore, Condition, RLock
from typing import Any, cast

from flwr.supercore.corestate.sql_corestate import SqlCoreState
from flwr.supercore.date import now
from flwr.supercore.routers.runtime.tracing import RuntimeTracingMiddleware
from flwr.supercore.sql_mixin import SqlMixin
from flwr.supercore.state.schema.corestate_models import Task
from flwr.superlink.cli.flower_superlink import flower_superlink
from flwr.superlink.routers.control.middlewares import (
    ControlAuthenticationMiddleware,
    ControlEventLogMiddleware,
    ControlLicenseMiddleware,
    ControlSensitiveResponseMiddleware,
)
from flwr.superlink.routers.fleet.middlewares import FleetEventLogMiddleware
from flwr.superlink.routers.fleet.node_auth import NodeAuthMiddleware
from flwr.superlink.servicer.fleet import fleet_handlers
from flwr.superlink.servicer.runtime import runtime_handlers
from uvicorn import Server

from common.flower.seam import check_seam, replaced

NODE_SECONDS, PROGRAM_SECONDS = 3.0, 1.0
"""Longest that a call is held, of a SuperNode and of the coordinator's program."""
MOST_HELD = 20
"""Calls that are held at once; Flower's SuperLink answers 40 at once."""
HELD = (
    (fleet_handlers, "pull_messages", "request state store"),
    (fleet_handlers, "push_messages", "request state"),
    (runtime_handlers, "pull_messages", "request state task"),
    (runtime_handlers, "push_messages", "request state task"),
    (Server, "handle_exit", "self sig frame"),
)
"""Functions that are replaced, with the names of their parameters."""


class Bell:
    """Wakes those who wait for it.

    Parameters
    ----------
    places : how many may wait, of this bell and of all that share them.
    """

    def __init__(self, places: BoundedSemaphore) -> None:
        self._places, self._condition = places, Condition()
        self._times, self._over = 0, False

    def ring(self) -> None:
        """Wake all."""
        with self._condition:
            self._times += 1
            self._condition.notify_all()

    def end(self) -> None:
        """Wake all, and let nobody wait any more; called by a signal, so it takes no lock."""
        self._over = True

    def answer_when_rung(
        self, look: Callable[[], Any], found: Callable[[Any], bool], seconds: float
    ) -> Any:
        """Look until something is found, once now and then whenever the bell rings."""
        times, deadline = self._times, time.monotonic() + seconds
        answer = look()
        if found(answer) or not self._places.acquire(blocking=False):
            return answer
        try:
            while not found(answer) and self._rings(times, deadline):
                times = self._times
                answer = look()
        finally:
            self._places.release()
        return answer

    def _rings(self, times: int, deadline: float) -> bool:
        """Wait until it has rung more often than so many times; False at the deadline."""
        with self._condition:
            while self._times == times and not self._over:
                if (left := deadline - time.monotonic()) <= 0.0:
                    return False
                self._condition.wait(min(left, 0.25))
            return not self._over


@contextmanager
def held_calls() -> Iterator[None]:
    """Hold calls for messages while the block lasts.

    Raises
    ------
    StudyError : Flower's functions have moved.
    """
    check_seam("the coordinator", HELD, where="SuperLink")
    pull, reply, collect, ask, leave = (getattr(owner, name) for owner, name, _ in HELD)
    places = BoundedSemaphore(MOST_HELD)
    questions, replies = Bell(places), Bell(places)

    def pull_messages(request: Any, state: Any, store: Any) -> Any:
        """Return a node's next message, as soon as there is one."""
        return questions.answer_when_rung(
            lambda: pull(request=request, state=state, store=store), _holds_messages, NODE_SECONDS
        )

    def push_messages(request: Any, state: Any) -> Any:
        """Take a node's reply, and say so."""
        response = reply(request=request, state=state)
        replies.ring()
        return response

    def collect_messages(request: Any, state: Any, task: Any) -> Any:
        """Return replies, as soon as there are any of those asked for."""
        seconds = PROGRAM_SECONDS if request.message_ids else 0.0
        return replies.answer_when_rung(
            lambda: collect(request, state, task), _holds_messages, seconds
        )

    def ask_messages(request: Any, state: Any, task: Any) -> Any:
        """Take questions of the coordinator's program, and say so."""
        response = ask(request, state, task)
        questions.ring()
        return response

    def handle_exit(self: Any, sig: int, frame: Any) -> None:
        """Let nobody wait, so that the SuperLink ends at once."""
        questions.end()
        replies.end()
        leave(self, sig, frame)

    new = (pull_messages, push_messages, collect_messages, ask_messages, handle_exit)
    seam = ((owner, name) for owner, name, _ in HELD)
    with replaced((*place, function) for place, function in zip(seam, new, strict=True)):
        yield


def _holds_messages(response: Any) -> bool:
    return bool(response.messages_list)


FLEET, RUNTIME = "/v1/fleet/", "/v1/runtime/"
"""Beginnings of the paths by which Flower, too, tells the kinds of calls apart."""


def _of_control(scope: Any) -> bool:
    """Return False for the two kinds of calls that are not the control interface's."""
    return not scope["path"].startswith((FLEET, RUNTIME))


def _of_fleet(scope: Any) -> bool:
    return not scope["path"].startswith(RUNTIME)


def _logged(scope: Any) -> bool:
    return _of_fleet(scope) and scope["app"].state.fleet_event_log_plugin is not None


def _traced(scope: Any) -> bool:
    return not scope["path"].startswith(FLEET) and os.getenv("FLWR_TRACING_ENABLED") == "1"


CONCERNS: dict[Any, Callable[[Any], bool]] = {
    ControlSensitiveResponseMiddleware: _of_control,
    ControlAuthenticationMiddleware: _of_control,
    ControlLicenseMiddleware: _of_control,
    ControlEventLogMiddleware: _of_control,
    RuntimeTracingMiddleware: _traced,
    NodeAuthMiddleware: _of_fleet,
    FleetEventLogMiddleware: _logged,
}
"""Calls that each layer may do more with than hand them on."""


@contextmanager
def passed_by() -> Iterator[None]:
    """Let calls pass by the layers that do not concern them while the block lasts.

    Raises
    ------
    StudyError : a layer has a way of its own to take a call up.
    """
    moved = [layer.__name__ for layer in CONCERNS if "__call__" in vars(layer)]
    check_seam("the coordinator", (), where="SuperLink", moved=moved)
    passing = [(one, "__call__", _passing(one.__call__, own)) for one, own in CONCERNS.items()]
    with replaced(passing):
        yield


def _passing(taken_up: Callable[..., Any], concerns: Callable[[Any], bool]) -> Callable[..., Any]:
    async def call(layer: Any, scope: Any, receive: Any, send: Any) -> None:
        """Take a call up, or hand it on."""
        if scope["type"] == "http" and not concerns(scope):
            await layer.app(scope, receive, send)
        else:
            await taken_up(layer, scope, receive, send)

    return call


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
