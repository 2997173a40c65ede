"""Folder of the machine code: numba loads it as code, so only we may write there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from client.imaging.radiomics.jit import cache_folder, compiled

ROOT = Path(__file__).parents[4]


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """Make an unwritable folder of Python files; for root, `access` is patched."""
    folder = tmp_path / "package"
    folder.mkdir()
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != folder and allowed(path, mode))
    return folder


def test_an_installation_that_can_be_written_keeps_it_beside_the_files(tmp_path):
    assert cache_folder(tmp_path, {"HOME": str(tmp_path)}, os.getuid()) == ""


def test_a_read_only_installation_keeps_it_in_a_private_folder_of_the_user(package, tmp_path):
    found = cache_folder(package, {"HOME": str(tmp_path)}, os.getuid())
    assert found == str(tmp_path / ".cache" / "fedlnm" / "compiled")
    assert Path(found).stat().st_mode & 0o777 == 0o700


def test_the_users_own_choice_of_a_cache_is_taken(package, tmp_path):
    other = tmp_path / "other"
    found = cache_folder(package, {"HOME": "/x", "XDG_CACHE_HOME": str(other)}, os.getuid())
    assert found == str(other / "fedlnm" / "compiled")
    assert cache_folder(package, {"NUMBA_CACHE_DIR": "/somewhere"}, os.getuid()) == ""


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_that_others_can_write_is_not_used(package, tmp_path, mode):
    folder = tmp_path / ".cache" / "fedlnm" / "compiled"
    folder.mkdir(parents=True)
    folder.chmod(mode)
    assert cache_folder(package, {"HOME": str(tmp_path)}, os.getuid()) is None


def test_somebody_elses_folder_is_not_used(package, tmp_path):
    assert cache_folder(package, {"HOME": str(tmp_path)}, os.getuid() + 1) is None


@pytest.mark.parametrize("environment", [{}, {"HOME": "relative"}, {"HOME": "/proc/no/such"}])
def test_without_a_home_nothing_is_kept(package, environment):
    assert cache_folder(package, environment, os.getuid()) is None


def test_products_and_sums_are_not_fused():
    """A fused multiply-add would give 2 ** -104 here; its use would depend on the processor."""

    @compiled
    def rest(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        out = np.empty(len(a))
        for i in range(len(a)):
            out[i] = a[i] * b[i] + c[i]
        return out

    a = np.full(64, 1 + 2.0**-52)
    np.testing.assert_array_equal(rest(a, a, -(a * a)), np.zeros(64))


def test_the_features_are_computed_where_nothing_can_be_kept(tmp_path):
    """Simulate a container with a read-only file system and a user without a home."""
    script = (
        "import sys, os; import client.imaging.radiomics.jit as jit; jit.KEPT = None;"
        "import numpy as np; from client.imaging.radiomics.levels import binned;"
        "print(binned(np.array([1.0, 30.0]), np.array([0.0, 25.0, 50.0]))[0].tolist())"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[1, 2]"
    assert list(tmp_path.iterdir()) == []
