"""No process of a long command is left when the command has ended, however it was ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="looks for processes in /proc, as Linux has it"
)

MARK = "FEDLNM_TEST_MARK"
SIGNALS = [signal.SIGTERM, signal.SIGKILL, signal.SIGINT]
# where CI runs, other tests compute on the same cores
PATIENCE = 15.0 if os.environ.get("CI") else 5.0
Command = Callable[[Path, Path], list[str]]


def phantom(hospitals: Path, out: Path) -> list[str]:
    return ["-m", "sim", "phantom", "--out", str(out / "phantom")]


def check(hospitals: Path, out: Path) -> list[str]:
    study = str(hospitals / "study.toml")
    return ["-m", "client", "check", str(hospitals / "north"), "--study", study]


def run(hospitals: Path, out: Path) -> list[str]:
    study = str(hospitals / "study.toml")
    sites = [str(hospitals / name) for name in ("north", "south", "west", "harbour")]
    cache = ["--cache", str(out / "cache")]
    return ["-m", "sim", "run", study, "--sites", *sites, "--out", str(out / "run"), *cache]


def marked(mark: str) -> set[int]:
    """Processes that were started under a mark, zombies apart."""
    needle, found = f"{MARK}={mark}".encode(), set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            zombie = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            continue
        if needle in environment and not zombie:
            found.add(int(folder.name))
    return found


@contextmanager
def started(arguments: list[str], out: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    mark = uuid4().hex
    with (out / "screen.log").open("wb") as screen:
        program = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=screen,
            stderr=subprocess.STDOUT,
            env={**os.environ, MARK: mark, "PYTHONPATH": str(Path.cwd())},
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    try:
        yield program, mark
    finally:
        for left in marked(mark):
            os.kill(left, signal.SIGKILL)
        program.wait()


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("command", [phantom, check, run])
def test_no_process_is_left_of_a_command_that_was_ended(
    command: Command, number: signal.Signals, imaging_master: Path, tmp_path: Path
) -> None:
    with started(command(imaging_master, tmp_path), tmp_path) as (program, mark):
        # the command, what keeps its workers' resources, and at least one worker
        while len(marked(mark)) < 3:
            assert program.poll() is None, (tmp_path / "screen.log").read_text()
            time.sleep(0.1)
        if number == signal.SIGINT:
            os.killpg(program.pid, number)  # as a terminal does: to all of them
        else:
            os.kill(program.pid, number)
        deadline = time.monotonic() + PATIENCE
        while marked(mark) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not marked(mark)
        if number != signal.SIGKILL:  # then a worker may be left with half a message
            assert "Traceback" not in (tmp_path / "screen.log").read_text()
