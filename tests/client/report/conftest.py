"""A site after a small study with images."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HOSPITALS = ("north", "south", "west", "harbour")


@pytest.fixture(scope="session")
def finished_study(
    imaging_master: Path, imaging_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Folder of a finished run; its sites are under sites/."""
    out = tmp_path_factory.mktemp("site-report") / "run"
    command = [sys.executable, "-m", "sim", "run", str(imaging_master / "study.toml"), "--sites"]
    command += [str(imaging_master / name) for name in HOSPITALS]
    command += ["--out", str(out), "--cache", str(imaging_cache)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr + done.stdout
    return out
