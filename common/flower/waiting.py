"""Calls of a hospital's programs that wait for what they ask for, where Flower's callers poll.

The launcher asks the SuperNode for a task, and the SuperNode's loop looks for the app's reply. Both
are in the SuperNode's process when they come, so both wait there, and are woken.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from typing import Any

from flwr.supernode.servicer.runtime import runtime_handlers

from common.flower.seam import check_seam, replaced

TASK_SECONDS = 2.0
"""Longest that the launcher's call is kept; when the SuperNode ends, nothing waits for longer."""
# a reply in the place of an app that died is made only when the loop looks
LOOK_SECONDS = 0.5
SEAM = (
    (runtime_handlers, "acquire_task", "request state"),
    (runtime_handlers, "push_messages", "request state task"),
)
"""Functions that are replaced."""


class Doorbell:
    """Wakes the launcher when there is a task, and the SuperNode's loop when there is a reply."""

    def __init__(self) -> None:
        self._task, self._reply = Event(), Event()

    def task_is_there(self) -> None:
        """Wake the launcher."""
        self._task.set()

    def waits_for_replies(self, state: Any) -> Any:
        """Return a SuperNode's state whose replies are waited for."""
        return _WaitedFor(state, self._reply)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Put the waiting calls into Flower's SuperNode, and take them out again.

        Raises
        ------
        StudyError : Flower's functions have moved.
        """
        check_seam("the gate", SEAM, where="gate")
        acquire, push = runtime_handlers.acquire_task, runtime_handlers.push_messages

        def acquire_task(request: Any, state: Any) -> Any:
            """Return a task, as soon as there is one."""
            deadline = time.monotonic() + TASK_SECONDS
            while True:
                self._task.clear()
                response = acquire(request, state)
                left = deadline - time.monotonic()
                if response.token or left <= 0:
                    return response
                self._task.wait(left)

        def push_messages(request: Any, state: Any, task: Any) -> Any:
            """Take the app's reply, and say so."""
            response = push(request, state, task)
            self._reply.set()
            return response

        new = (acquire_task, push_messages)
        with replaced((*one[:2], own) for one, own in zip(SEAM, new, strict=True)):
            yield


class _WaitedFor:
    """State of a SuperNode that answers only when there are messages."""

    def __init__(self, state: Any, rung: Event) -> None:
        self._state, self._rung = state, rung

    def get_messages_legacy(self, **which: Any) -> Sequence[Any]:
        """Return messages as soon as there are any."""
        while not (found := self._state.get_messages_legacy(**which)):
            self._rung.wait(LOOK_SECONDS)
            self._rung.clear()
        return found  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)
