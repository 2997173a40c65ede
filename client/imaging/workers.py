"""Worker processes within a memory budget, which survives when one of them is killed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from threadpoolctl import ThreadpoolController

from common.utils.workers import WorkerPool


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit ITK, BLAS and OpenMP to one thread inside the context."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        with _pools(len(sys.modules)).limit(limits=1):
            yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


@lru_cache(maxsize=1)
def _pools(modules: int) -> ThreadpoolController:
    """Find the libraries that have threads, again whenever more modules are loaded.

    That takes as long as the features of a small ROI.
    """
    return ThreadpoolController()


A = TypeVar("A")
R = TypeVar("R")


@dataclass(frozen=True)
class Task(Generic[A]):
    """Argument of a function, and the estimated memory for it."""

    argument: A
    gib: float


@dataclass(frozen=True)
class Killed:
    """Placeholder for a result: the process that worked on this task alone was killed."""


class BoundedPool:
    """Pool of processes with one thread each; with one worker, tasks run in this process.

    Parameters
    ----------
    workers : processes at most.
    memory_gib : bound on the sum of the running tasks' estimates; a task whose own estimate is
        larger runs alone.
    """

    def __init__(self, workers: int, memory_gib: float) -> None:
        self.workers, self.memory_gib = workers, memory_gib
        self._executor: WorkerPool | None = None

    def __enter__(self) -> BoundedPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self._executor is not None:
            self._executor.end()
        self._stop()

    def run(
        self, function: Callable[[A], R], tasks: Sequence[Task[A]]
    ) -> Iterator[tuple[int, R | Killed]]:
        """Yield results by position, as they come; the largest tasks start first.

        Parameters
        ----------
        function : at module level, so that another process can find it.

        Raises
        ------
        Exception : any error of `function`.
        """
        waiting = sorted(range(len(tasks)), key=lambda i: -tasks[i].gib)
        if self.workers == 1:
            for position in waiting:
                yield position, function(tasks[position].argument)
            return
        running: dict[Future[R], int] = {}
        while waiting or running:
            lost = self._fill(function, waiting, running, tasks)
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                position = running.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    lost.append(position)
                    continue
                yield position, result
            if lost:
                # the pool does not reveal whose process was killed: each gets another try, alone
                lost += running.values()
                running.clear()
                yield from self._one_by_one(function, lost, tasks)

    def _fill(
        self,
        function: Callable[[A], R],
        waiting: list[int],
        running: dict[Future[R], int],
        tasks: Sequence[Task[A]],
    ) -> list[int]:
        """Start the tasks that fit; return the task, if any, that found the pool broken."""
        while (position := self._fitting(waiting, running, tasks)) is not None:
            waiting.remove(position)
            try:
                future = self._pool().submit(function, tasks[position].argument)
            except BrokenProcessPool:
                return [position]
            running[future] = position
        return []

    def _fitting(
        self, waiting: list[int], running: dict[Future[R], int], tasks: Sequence[Task[A]]
    ) -> int | None:
        """Return the largest waiting task that may start now."""
        if len(running) >= self.workers:
            return None
        free = self.memory_gib - sum(tasks[position].gib for position in running.values())
        for position in waiting:
            if not running or tasks[position].gib <= free:
                return position
        return None

    def _one_by_one(
        self, function: Callable[[A], R], positions: list[int], tasks: Sequence[Task[A]]
    ) -> Iterator[tuple[int, R | Killed]]:
        self._stop()
        for position in positions:
            try:
                result = self._pool().submit(function, tasks[position].argument).result()
            except BrokenProcessPool:
                self._stop()
                yield position, Killed()
            else:
                yield position, result

    def _pool(self) -> WorkerPool:
        if self._executor is None:
            self._executor = WorkerPool(self.workers)
        return self._executor

    def _stop(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None
