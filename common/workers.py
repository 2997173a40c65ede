"""Processes that compute for this one, and end when it does, without a word of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_ENDED = threading.Event()


class WorkerPool(ProcessPoolExecutor):
    """Spawned processes that Ctrl-C does not reach; who made them ends them.

    Ctrl-C at a terminal reaches every process there. Each worker would print a traceback of its
    own, in the middle of an import most of all.

    Parameters
    ----------
    workers : processes at most.
    """

    def __init__(self, workers: int) -> None:
        # spawn: a fork of a process with threads (gRPC, ITK) may hang
        context = multiprocessing.get_context("spawn")
        super().__init__(workers, mp_context=context, initializer=_begin)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As of any executor; what is ignored here is ignored by a process that starts now."""
        with _deaf():
            return super().submit(_work, partial(fn, *args, **kwargs))

    def end(self) -> None:
        """End the workers: what runs in them unwinds first, and what it holds is put away."""
        for process in list((self._processes or {}).values()):
            process.terminate()
        self.shutdown(cancel_futures=True)


@contextmanager
def _deaf() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)


def _end(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would disturb the putting away
    _ENDED.set()
    raise SystemExit(1)


def _work(task: Callable[[], T]) -> T:
    try:
        return task()
    finally:
        if _ENDED.is_set():
            # else the next task would begin: some wait in this process already
            os._exit(1)
