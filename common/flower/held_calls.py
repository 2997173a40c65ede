"""Calls for messages that the SuperLink holds until there are some, where Flower answers at once.

A hospital's SuperNode looks for a question, and the coordinator's program for replies, again and
again, and every look costs the SuperLink several milliseconds. Both questions and replies are
handed over in the SuperLink's process, so a look waits there, and is woken. So many looks at most
wait at once, as each has a thread of the SuperLink's; what comes besides is answered at once, as
Flower does it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore, Condition
from typing import Any

from flwr.superlink.servicer.fleet import fleet_handlers
from flwr.superlink.servicer.runtime import runtime_handlers
from uvicorn import Server

from common.flower.seam import check_seam, replaced

NODE_SECONDS, PROGRAM_SECONDS = 3.0, 1.0
"""Longest that a call is held, of a SuperNode and of the coordinator's program."""
MOST_HELD = 20
"""Calls that are held at once; Flower's SuperLink answers 40 at once."""
SEAM = (
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
    check_seam("the coordinator", SEAM, where="SuperLink")
    pull, reply, collect, ask, leave = (getattr(owner, name) for owner, name, _ in SEAM)
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
    seam = ((owner, name) for owner, name, _ in SEAM)
    with replaced((*place, function) for place, function in zip(seam, new, strict=True)):
        yield


def _holds_messages(response: Any) -> bool:
    return bool(response.messages_list)
