"""Settings of every process of the tests, made before numpy and torch are loaded."""

import gc
import os
import shutil
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

GIB = 2**30
IN_MEMORY, TEMPORARY = Path("/dev/shm"), "PYTEST_DEBUG_TEMPROOT"  # noqa: S108
OWN = IN_MEMORY / f"fedlnm-tests-{os.getpid()}"


def has_room_in_memory() -> bool:
    """Return whether a disk in memory has room for all that the tests write, some three GiB."""
    try:
        disk = os.statvfs(IN_MEMORY)
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        words = next(line.split() for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return False
    if disk.f_flag & os.ST_NOEXEC:  # some tests run what they compile
        return False
    return disk.f_bavail * disk.f_frsize >= 4 * GIB and int(words[1]) * 1024 >= 8 * GIB


def pytest_configure(config: pytest.Config) -> None:
    """Let tests write into memory, unless there is no room or a folder was given.

    A hospital's programs have every step written to the disk before they go on: most of the time of
    many tests was waiting for that.
    """
    if config.option.basetemp or TEMPORARY in os.environ or not has_room_in_memory():
        return
    for left in IN_MEMORY.glob("fedlnm-tests-*"):  # by tests that failed, or were killed
        if not Path("/proc", left.name.rpartition("-")[2]).exists():
            shutil.rmtree(left, ignore_errors=True)
    OWN.mkdir(mode=0o700)
    os.environ[TEMPORARY] = str(OWN)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remember whether there may be something to look at."""
    session.config.stash[_FAILED] = exitstatus not in (0, pytest.ExitCode.NO_TESTS_COLLECTED)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Give the memory back, unless something failed."""
    if not config.stash.get(_FAILED, True):
        shutil.rmtree(OWN, ignore_errors=True)


_FAILED = pytest.StashKey[bool]()


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
    "deployment/test_lies.py",
    "deployment/test_bad_day.py",
    "deployment/test_quorum.py",
    "deployment/test_proxy.py",
    "sim/test_interrupted_training.py",
    "sim/test_quorum.py",
    "docs/test_pages.py",
    "deployment/test_stops.py",
    "sim/test_ending.py",
    "sim/test_sts_example.py",
    "sim/test_rehearse.py",
    "deployment/test_refusals.py",
    "attacks/test_m_killed_and_restored.py",
    "server/phases/test_portable.py",
    "attacks/egress/test_loopback.py",
    "client/importing/test_archives.py",
    "client/importing/test_from_archive.py",
    "attacks/test_p_sixty_rounds.py",
    "attacks/test_n_made_up_questions.py",
    "sim/test_verified.py",
    "client/imaging/test_preparation.py",
    "client/predict/test_command.py",
    "client/predict/test_harmonised.py",
    "sim/test_private_study.py",
    "sim/test_tabular_study.py",
    "client/training/test_dp_sgd.py",
    "sim/test_dossier.py",
    "attacks/test_m_chosen_seeds.py",
    "server/report/test_in_browser.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest."""
    places = {str(Path(__file__).parent / "tests" / name): n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(str(item.path), len(LONGEST)))


def pytest_xdist_auto_num_workers() -> int:
    """Run one worker more than there are cores: some tests wait for programs."""
    return len(os.sched_getaffinity(0)) + 1
