"""Settings of every process of the tests, made before numpy and torch are loaded."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

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


# Longest first, so that none of them is left alone at the end; between those that compute stand
# those that mostly wait for programs. The first makes the study that several others look at.
LONGEST = (
    "sim/test_imaging_study.py",
    "deployment/test_quorum.py",
    "deployment/test_lies_of_training.py",
    "deployment/test_lies.py",
    "deployment/test_bad_day.py",
    "deployment/test_two_studies.py",
    "sim/test_interrupted_training.py",
    "docs/test_pages.py",
    "sim/test_ending.py",
    "deployment/test_refusals.py",
    "client/imaging/test_preparation.py",
    "deployment/test_stops.py",
    "client/predict/test_command.py",
    "attacks/egress/test_loopback.py",
    "sim/test_sts_example.py",
    "sim/test_rehearse.py",
    "client/training/test_dp_sgd.py",
    "sim/test_dossier.py",
    "sim/test_private_study.py",
    "server/report/test_all_numbers.py",
    "sim/test_tabular_study.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest."""
    places = {str(Path(__file__).parent / "tests" / name): n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(str(item.path), len(LONGEST)))


def pytest_xdist_auto_num_workers() -> int:
    """Run one worker more than there are cores: some tests wait for programs."""
    return len(os.sched_getaffinity(0)) + 1
