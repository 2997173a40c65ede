"""Worker processes that never outlive this one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import wait
from typing import ParamSpec, TypeVar, cast

from common.utils.keeper import die_with_parent

P = ParamSpec("P")
T = TypeVar("T")
UNWIND_SECONDS = 3.0
"""Time for a worker to clean up before it is killed."""
_ENDED = threading.Event()


class WorkerPool(ProcessPoolExecutor):
    """Spawned processes that Ctrl-C does not reach and that die with their parent.

    Ctrl-C at a terminal reaches every process there, and each worker would print a traceback of its
    own. A worker whose parent was killed would wait for its next task forever, or go on computing
    for minutes with gigabytes of memory.
    """

    def __init__(self, workers: int) -> None:
        # spawn: a fork of a process with threads (gRPC, ITK) may hang
        context = multiprocessing.get_context("spawn")
        # Linux sends the signal when the creating thread ends; only the main thread lives as long
        # as its process
        kill = threading.current_thread() is threading.main_thread()
        super().__init__(workers, mp_context=context, initializer=_begin, initargs=(kill,))

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Submit a task as to any executor; a process started by it ignores Ctrl-C."""
        with _deaf():
            return super().submit(_work, partial(fn, *args, **kwargs))

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> bool | None:
        """Wait for submitted tasks, or end the workers when an exception passes."""
        if kind is not None:
            self.end()
        self.shutdown(wait=True)
        return None

    def end(self) -> None:
        """End the workers: let their tasks unwind, and kill the rest after a few seconds.

        A library's compiled code may compute for minutes without handling a signal.
        """
        processes = list((self._processes or {}).values())
        manager = cast(threading.Thread | None, self._executor_manager_thread)
        # first, as the executor fails on cancelled tasks when it finds its processes gone
        self.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + UNWIND_SECONDS
        for process in processes:
            process.join(max(deadline - time.monotonic(), 0.0))
            if process.is_alive():
                process.kill()
        # else Python may wake it at its own end through a pipe that it is just closing
        if manager is not None:
            manager.join(UNWIND_SECONDS)


@contextmanager
def _deaf() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM while a process starts; they are delivered afterwards.

    An interruption in between would leave a process without its task. A blocked signal stays
    blocked in a started program, so it never receives Ctrl-C; a handler does not stay.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    missed: list[int] = []
    held = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(one, lambda number, _: missed.append(number)) for one in held]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for one, handler in zip(held, before, strict=True):
            signal.signal(one, handler)
        for number in dict.fromkeys(missed):
            signal.raise_signal(number)


def _begin(kill: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # nothing is to be tidied up yet, and an exception in here would be printed as a fault
    signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if kill and sys.platform == "linux":
        die_with_parent()
    signal.signal(signal.SIGTERM, _end)


def _end_with_parent() -> None:
    """Exit as soon as the parent has gone, on any system, once compiled code lets a thread run."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _end(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second signal would disturb the cleanup
    _ENDED.set()
    raise SystemExit(1)


def _work(task: Callable[[], T]) -> T:
    try:
        return task()
    finally:
        if _ENDED.is_set():
            # else the next task would begin: some wait in this process already
            os._exit(1)
