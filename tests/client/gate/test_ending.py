"""A process ends with Flower's own loop."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("last", "code"), [("pass", 0), ("sys.exit(3)", 3), ("raise RuntimeError", 1)]
)
def test_the_process_ends_with_flowers_loop_though_other_threads_go_on(
    last: str, code: int
) -> None:
    script = (
        "import sys, threading, time\n"
        "from client.gate.ending import end_with_this_thread\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        f"def loop():\n    {last}\n"
        "end_with_this_thread(loop)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], timeout=120, check=False)
    assert done.returncode == code
