"""What holds for every process of the tests, set before numpy and torch are loaded."""

import gc
import os
import sys
from collections.abc import Iterator

import pytest

# One thread a process, also for programs that tests start: tests run side by side, and with threads
# that wait for each other's cores some took ten times as long.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# Tests start some hundred programs, and without bytecode on disk each of them would compile all
# modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep what is there for good out of every later look for garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_xdist_auto_num_workers() -> int:
    """Run three workers on two cores: some tests wait for programs, so that others can compute."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(2, cores + cores // 2)
