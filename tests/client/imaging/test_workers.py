from __future__ import annotations

import operator
import signal
import time
from concurrent.futures import Future

import pytest

from client.imaging.workers import BoundedPool, Killed, Task

HARMLESS, DEADLY = int(signal.SIGCHLD), int(signal.SIGKILL)


def tasks(*arguments, gib: float = 0.1) -> list[Task]:
    return [Task(argument, gib) for argument in arguments]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_gives_its_result(workers):
    with BoundedPool(workers, 1.0) as pool:
        found = dict(pool.run(operator.neg, tasks(1, 2, 3, 4, 5)))
    assert found == {0: -1, 1: -2, 2: -3, 3: -4, 4: -5}


def test_one_worker_works_in_this_process():
    seen = []
    with BoundedPool(1, 1.0) as pool:
        assert dict(pool.run(seen.append, tasks("a", "b"))) == {0: None, 1: None}
    assert seen == ["a", "b"]


def test_a_killed_process_costs_its_own_task_only_and_does_not_hang():
    with BoundedPool(2, 1.0) as pool:
        found = dict(pool.run(signal.raise_signal, tasks(HARMLESS, DEADLY, HARMLESS, HARMLESS)))
    assert found == {0: None, 1: Killed(), 2: None, 3: None}


def test_an_exception_of_the_function_reaches_the_caller():
    with BoundedPool(2, 1.0) as pool, pytest.raises(TypeError):
        list(pool.run(operator.neg, tasks("text")))


class Recording(BoundedPool):
    """Counts the memory of what runs at the same time, without processes."""

    def __init__(self, workers: int, memory_gib: float) -> None:
        super().__init__(workers, memory_gib)
        self.together: list[list[float]] = []

    def _fitting(self, waiting, running, all_tasks):
        self.together.append([all_tasks[i].gib for i in running.values()])
        return super()._fitting(waiting, running, all_tasks)


def test_running_tasks_never_exceed_the_memory_and_a_large_one_runs_alone():
    sizes = [0.5, 3.0, 0.9, 0.4, 1.5, 0.7, 0.2]
    with Recording(3, 2.0) as pool:
        found = dict(pool.run(time.sleep, [Task(0.01, gib) for gib in sizes]))
        assert len(found) == len(sizes)
        assert any(len(group) > 1 for group in pool.together)
        for group in pool.together:
            assert sum(group) <= 2.0 + 1e-9 or len(group) == 1
            assert len(group) <= 3


def test_a_large_task_waits_until_nothing_runs():
    pool = BoundedPool(4, 2.0)
    waiting = tasks("big", gib=5.0) + tasks("small", gib=0.5)
    assert pool._fitting([0, 1], {}, waiting) == 0
    assert pool._fitting([0], {Future(): 1}, waiting) is None
    assert pool._fitting([1], {Future(): 0}, waiting) is None
