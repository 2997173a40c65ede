"""Workers are ended by who made them, and say nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.utils.workers import WorkerPool

PROGRAM = """
import sys, time
from pathlib import Path
from common.utils.workers import WorkerPool

def work(path):
    Path(path).touch()
    try:
        time.sleep(60)
    finally:
        Path(path).with_suffix(".ended").touch()

if __name__ == "__main__":
    with WorkerPool(2) as pool:
        try:
            futures = [pool.submit(work, f"{sys.argv[1]}/{i}") for i in range(5)]
            print("begun", flush=True)
            futures[0].result()
        except KeyboardInterrupt:
            pool.end()
    print("ended")
"""


def add(one: int, other: int) -> int:
    return one + other


def test_a_task_gives_its_result() -> None:
    before = signal.getsignal(signal.SIGINT)  # what runs the tests may ignore it
    with WorkerPool(1) as pool:
        assert pool.submit(add, 1, other=2).result() == 3
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("while_importing", [True, False])
def test_ctrl_c_ends_all_workers_at_once_and_without_a_traceback(
    tmp_path: Path, while_importing: bool
) -> None:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    program = subprocess.Popen(
        [sys.executable, str(file), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
        # whatever runs the tests may ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "begun\n"
    while not while_importing and not (tmp_path / "0").is_file():
        time.sleep(0.05)
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does: to all of them
    output, _ = program.communicate(timeout=30)
    assert output == "ended\n"
    begun = {path.name for path in tmp_path.glob("?")}
    assert {path.stem for path in tmp_path.glob("*.ended")} == begun
    assert len(begun) <= 2
