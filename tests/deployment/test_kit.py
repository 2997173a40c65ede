"""The offline kit, installed where there is Python and nothing else: no network, gcc or git."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sim.cli import app

pytestmark = [
    pytest.mark.kit,
    pytest.mark.skipif(
        os.name != "posix" or os.geteuid() != 0 or shutil.which("mmdebstrap") is None,
        reason="SKIPPED: the kit is tried in a Debian of its own; needs root and mmdebstrap",
    ),
]
BARE = ("gcc", "cc", "make", "git", "curl", "wget")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Debian with Python, and phantom hospitals in /data."""
    root = tmp_path_factory.mktemp("debian") / "root"
    command = ["mmdebstrap", "--variant=minbase", "--include=python3", "bookworm", str(root)]
    subprocess.run(command, check=True)
    made = CliRunner().invoke(app, ["phantom", "--out", str(root / "data"), "--small"])
    assert made.exit_code == 0, made.output
    return root


def inside(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the system, without any network."""
    jail = ["unshare", "--net", "--mount", "--pid", "--fork", "chroot", str(root)]
    script = 'mount -t proc proc /proc; exec "$@"'
    return subprocess.run(
        [*jail, "/bin/sh", "-c", script, "sh", *command],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
    )


def test_it_installs_and_a_phantom_hospital_is_ready(kit: Path, system: Path) -> None:
    for program in BARE:
        assert inside(system, "which", program).returncode != 0
    shutil.copytree(kit, system / "kit")
    done = inside(system, "sh", "/kit/install.sh", "--to", "/opt/fedlnm")
    assert done.returncode == 0, done.stderr
    name = next(p.name for p in sorted((system / "data").iterdir()) if p.is_dir())
    command = ("/opt/fedlnm/bin/fedlnm-site", "check", f"/data/{name}")
    checked = inside(system, *command, "--study", "/data/study.toml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "0 problem" in checked.stdout


def test_a_flipped_byte_in_any_wheel_is_refused(kit: Path, system: Path) -> None:
    folder = system / "changed"
    shutil.copytree(kit, folder)
    for wheel in sorted((folder / "wheels").glob("*.whl"))[::10]:
        with wheel.open("r+b") as file:
            file.seek(wheel.stat().st_size // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))
        done = inside(system, "sh", "/changed/install.sh", "--to", "/opt/other")
        assert done.returncode == 1 and wheel.name in done.stderr
        shutil.copy(kit / "wheels" / wheel.name, wheel)
    assert not (system / "opt" / "other").exists()
