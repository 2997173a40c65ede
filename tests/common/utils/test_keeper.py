"""A keeper takes whatever its program has started along when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from common.utils import keeper
from common.utils.processes import kept

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a service of Linux")

# starts one that ignores requests to end, in a session of its own, and notes its number
STARTS_ANOTHER = """
import os, subprocess, sys, time
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True);"
other = subprocess.Popen([sys.executable, "-c", code + "time.sleep(60)"], start_new_session=True,
                         stdout=subprocess.PIPE)
other.stdout.readline()
open(sys.argv[1] + ".new", "w").write(f"{os.getpid()} {other.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
"""
SLEEPS = "time.sleep(60)"
KEEPS = """
import os, sys, time
from common.utils.processes import BackgroundProgram
BackgroundProgram(sys.argv[1:], os.environ, None).start()
time.sleep(60)
"""


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def exit_code(command: Sequence[str]) -> int:
    return subprocess.run(kept(command), check=False).returncode


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(1500):
        if holds():
            return
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def noted(file: Path) -> list[int]:
    wait_until(file.exists)
    return [int(text) for text in file.read_text(encoding="utf-8").split()]


def test_the_exit_code_is_the_programs_own() -> None:
    assert exit_code(python("raise SystemExit(3)")) == 3
    killed = python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert exit_code(killed) == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_whatever_was_started_ends_with_the_one_that_asked_for_it(
    number: signal.Signals, tmp_path: Path
) -> None:
    command = python(KEEPS, *python(STARTS_ANOTHER + SLEEPS, tmp_path / "pids"))
    parent = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    pids = noted(tmp_path / "pids")
    parent.send_signal(number)
    parent.wait()
    wait_until(lambda: not any(map(runs, pids)))


def test_whatever_was_started_ends_when_the_keeper_is_asked_to(tmp_path: Path) -> None:
    program = subprocess.Popen(kept(python(STARTS_ANOTHER + SLEEPS, tmp_path / "pids")))
    pids = noted(tmp_path / "pids")
    program.terminate()
    assert program.wait() == 128 + signal.SIGTERM
    assert not any(map(runs, pids))


def test_whatever_was_started_ends_with_the_program(tmp_path: Path) -> None:
    assert exit_code(python(STARTS_ANOTHER, tmp_path / "pids")) == 0
    assert not any(map(runs, noted(tmp_path / "pids")))


def test_the_program_ends_when_its_keeper_is_killed(tmp_path: Path) -> None:
    program = subprocess.Popen(kept(python(STARTS_ANOTHER + SLEEPS, tmp_path / "pids")))
    first, other = noted(tmp_path / "pids")
    program.kill()
    program.wait()
    wait_until(lambda: not runs(first))
    os.kill(other, signal.SIGKILL)  # nobody is left who knows of it


def test_nothing_is_started_for_a_parent_that_has_gone(tmp_path: Path) -> None:
    gone = subprocess.Popen(python(""))
    gone.wait()
    command = kept(python(STARTS_ANOTHER, tmp_path / "pids"))
    command[command.index(str(os.getpid()))] = str(gone.pid)
    assert subprocess.run(command, check=False).returncode == 128 + signal.SIGTERM
    assert not (tmp_path / "pids").exists()


def test_ctrl_c_is_left_to_the_program(tmp_path: Path) -> None:
    code = "import os, sys, time; open(sys.argv[1], 'w').write('');\n"
    code += "try: time.sleep(60)\nexcept KeyboardInterrupt: raise SystemExit(7)"
    program = subprocess.Popen(
        kept(python(code, tmp_path / "up")),
        start_new_session=True,
        # whatever runs the tests may ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_until((tmp_path / "up").exists)
    time.sleep(0.1)
    os.killpg(program.pid, signal.SIGINT)
    assert program.wait() == 7


def test_it_loads_nothing_but_the_standard_library() -> None:
    code = f"import runpy, sys; runpy.run_path({keeper.__file__!r}); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded <= sys.stdlib_module_names | {"__main__"}
