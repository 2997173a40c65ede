"""Programs in the background end when they should."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.errors import StudyError
from common.utils import processes
from common.utils.processes import (
    BackgroundProgram,
    free_port,
    holding,
    is_held,
    port_is_taken,
    stop_all,
    wait_until_ready,
)

PATIENT = "import time; time.sleep(60)"
# compiled code that calls Python back, and is interrupted there
CALLED_BACK = """
import ctypes, os, signal, time
from common.utils.processes import run_program

def inside():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(1)

def commands():
    ctypes.PYFUNCTYPE(None)(inside)()
    time.sleep(60)

run_program(commands)
"""
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True);"


def python(code: str, log: Path | None = None) -> BackgroundProgram:
    return BackgroundProgram([sys.executable, "-c", code], {}, log)


def test_a_program_is_started_again_and_its_log_goes_on(tmp_path: Path) -> None:
    program = python("print('said')", tmp_path / "logs" / "log")
    for _ in range(2):
        program.start()
        assert program.wait(10)
    assert (tmp_path / "logs" / "log").read_text(encoding="utf-8") == "said\nsaid\n"


def test_a_program_that_was_never_started_does_not_run_and_can_be_stopped() -> None:
    program = python(PATIENT)
    assert not program.running
    program.stop()


def test_all_are_asked_to_end_at_once() -> None:
    programs = [python(PATIENT) for _ in range(3)]
    for program in programs:
        program.start()
    assert all(program.running for program in programs)
    stop_all(programs)
    assert not any(program.running for program in programs)


def test_a_program_that_does_not_end_is_ended(tmp_path: Path) -> None:
    program = python(STUBBORN + PATIENT, tmp_path / "log")
    program.start()
    while not (tmp_path / "log").read_bytes():
        time.sleep(0.02)
    program.stop()
    assert not program.running


def test_a_program_that_ends_before_it_answers_is_told_of(tmp_path: Path) -> None:
    program = python("raise SystemExit(3)", tmp_path / "superlink.log")
    program.start()
    program.wait(10)
    with pytest.raises(StudyError, match=r"superlink\.log: Flower's SuperLink did not start"):
        wait_until_ready(program, free_port())


def test_a_program_that_starts_slowly_is_waited_for_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "SAY_SECONDS", 0.2)
    port, said = free_port(), list[str]()
    answers = (
        "import http.server, time; time.sleep(1)\n"
        "class Health(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_response(200); self.end_headers()\n"
        f"http.server.HTTPServer(('127.0.0.1', {port}), Health).serve_forever()\n"
    )
    program = python(answers, tmp_path / "superlink.log")
    program.start()
    try:
        wait_until_ready(program, port, say=said.append)
    finally:
        program.stop()
    assert said and all("is still starting" in line for line in said)


def test_a_free_port_is_not_taken() -> None:
    assert not port_is_taken(free_port())


def test_an_interruption_that_compiled_code_swallows_is_repeated() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CALLED_BACK], capture_output=True, text=True, timeout=30, check=False
    )
    assert "KeyboardInterrupt" in done.stderr.splitlines()[-1]
    assert "Exception ignored" not in done.stderr
    assert done.returncode != 0


HOLDS = "import sys, time; from pathlib import Path; from common.utils.processes import holding\n"
HOLDS += "with holding(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


def test_a_file_is_held_while_the_block_lasts(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    with holding(path):
        assert is_held(path)
    assert not is_held(path)


def test_a_killed_program_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(path)], stdout=subprocess.PIPE, env=dict(os.environ)
    ) as program:
        assert program.stdout is not None and program.stdout.readline() == b"held\n"
        assert is_held(path)
        program.kill()
    assert not is_held(path)


def test_whoever_comes_second_goes_on_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "WAIT_SECONDS", 0.05)
    path = tmp_path / "lock"
    with holding(path):
        with holding(path):
            assert is_held(path)
        assert is_held(path)
