"""Run a program, and end it with all it started when the requesting process ends.

`common.utils.processes.kept` writes `python keeper.py PARENT COMMAND...`, on Linux. It lives as
long as the program and so imports the standard library alone. Orphans of the program become
children of its keeper, whatever session they are in, so none is left when the keeper ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

GRACE_SECONDS = 2.0
"""Time for programs to clean up before they are killed."""
_PARENT_DIED, _ADOPT_ORPHANS = 1, 36  # PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER
_REQUESTS = (signal.SIGTERM, signal.SIGHUP)


class _AskedToEndError(Exception):
    """The parent asks for the end, or has ended itself."""


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Let Linux send this process a signal when the thread that started it ends."""
    ctypes.CDLL(None).prctl(_PARENT_DIED, number)


def keep(parent: int, command: list[str]) -> int:
    """Run a command until it or the parent ends; return its exit code, as a shell would.

    Ctrl-C is left to the program, which receives it too.
    """
    signal.signal(signal.SIGINT, lambda *_: None)  # SIG_IGN would be inherited
    for number in _REQUESTS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _ask)
    code = 128 + signal.SIGTERM
    try:
        ctypes.CDLL(None).prctl(_ADOPT_ORPHANS, 1)
        die_with_parent(signal.SIGTERM)
        if os.getppid() == parent:  # else it ended before prctl took effect
            program = subprocess.Popen(command, preexec_fn=die_with_parent)  # noqa: S603
            code = _wait_for(program.pid)
    except _AskedToEndError:
        pass
    _end_children()
    return code


def _ask(*_: object) -> NoReturn:
    for number in _REQUESTS:
        signal.signal(number, signal.SIG_IGN)  # a second signal would disturb the shutdown
    raise _AskedToEndError


def _wait_for(program: int) -> int:
    while True:
        number, status = os.wait()
        if number == program:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _end_children() -> None:
    """Ask every child and every orphan to end, kill the rest after a while, and wait for all."""
    deadline, asked = time.monotonic() + GRACE_SECONDS, set[int]()
    with suppress(ChildProcessError):
        while True:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
            late = time.monotonic() > deadline
            children = Path("/proc/thread-self/children").read_text(encoding="ascii")
            for child in map(int, children.split()):
                if late or child not in asked:
                    os.kill(child, signal.SIGKILL if late else signal.SIGTERM)
                    asked.add(child)
            time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(keep(int(sys.argv[1]), sys.argv[2:]))
