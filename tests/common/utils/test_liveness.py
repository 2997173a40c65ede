"""A program that holds a file is seen to be alive, and to be gone however it ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.utils import liveness
from common.utils.liveness import holding, is_held

HOLDS = "import sys, time; from pathlib import Path; from common.utils.liveness import holding\n"
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
    monkeypatch.setattr(liveness, "WAIT_SECONDS", 0.05)
    path = tmp_path / "lock"
    with holding(path):
        with holding(path):
            assert is_held(path)
        assert is_held(path)
