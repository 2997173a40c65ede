"""The command line: `--sites a b c`, help, and studies by demonstration."""

from __future__ import annotations

import subprocess
import sys

import pytest

from common.study.release_mark import own_release
from sim.cli import expand_sites


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            ["run", "s.toml", "--sites", "a", "b", "--out", "o"],
            ["run", "s.toml", "--sites", "a", "--sites", "b", "--out", "o"],
        ),
        (["run", "s.toml", "--sites", "a", "--sites", "b"],) * 2,
        (["run", "--out", "o", "s.toml", "--sites", "a"],) * 2,
        (["phantom", "--out", "o"],) * 2,
    ],
)
def test_sites_may_be_listed_after_one_option(given: list[str], expected: list[str]) -> None:
    assert expand_sites(given) == expected


@pytest.mark.parametrize("program", ["sim", "client", "server"])
def test_every_program_names_its_release(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", program, "--version"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.startswith(f"fedlnm {own_release()}, Python 3.")


@pytest.mark.parametrize("program", ["sim", "client", "server"])
def test_every_program_explains_itself(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", program, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "Commands" in done.stdout
