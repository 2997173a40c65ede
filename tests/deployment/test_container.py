"""The hospitals of a rehearsal in containers: read-only, without rights, with equal results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from sim.rehearsal import CONTAINER_USER, PODMAN, rehearse, small_phantom

NEEDED = ("podman", "runc", "mmdebstrap")
pytestmark = [
    pytest.mark.kit,
    pytest.mark.skipif(
        os.geteuid() != 0 or any(shutil.which(program) is None for program in NEEDED),
        reason=f"SKIPPED: containers need root and Debian's {', '.join(NEEDED)}",
    ),
]
ROOT = Path(__file__).parents[2]
BASE, IMAGE = "localhost/fedlnm-test-base", "localhost/fedlnm-test"
LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096")


def podman(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["podman", *PODMAN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def image(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    system = tmp_path_factory.mktemp("base") / "base.tar"
    command = ["mmdebstrap", "--variant=minbase", "--include=python3", "bookworm", str(system)]
    subprocess.run(command, check=True)
    assert podman("import", system, BASE).returncode == 0
    options = ("--network=host", "--format=docker", *LIMITS, f"--build-arg=BASE={BASE}")
    file = ("--file", ROOT / "Containerfile")
    built = podman("build", *options, *file, "--tag", IMAGE, kit.parents[1])
    assert built.returncode == 0, built.stderr
    return IMAGE


def test_it_runs_as_nobody_and_writes_nothing_but_its_folder(image: str, tmp_path: Path) -> None:
    os.chown(tmp_path, CONTAINER_USER, CONTAINER_USER)
    tmp_path.chmod(0o700)
    script = (
        "import os, json;"
        "tried = {};"
        "\nfor p in ('/opt/fedlnm/x', '/etc/x', '/x', '/site/x', '/tmp/x'):"
        "\n try: open(p, 'w'); tried[p] = True"
        "\n except OSError: tried[p] = False"
        "\nprint(json.dumps([os.getuid(), tried]))"
    )
    done = podman(
        *("run", "--rm", "--network=host", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL"),
        *("--security-opt=no-new-privileges", *LIMITS, f"--volume={tmp_path}:/site"),
        *("--entrypoint=/opt/fedlnm/bin/python", image, "-c", script),
    )
    assert done.returncode == 0, done.stderr
    user, tried = json.loads(done.stdout)
    assert user == CONTAINER_USER
    assert [path for path, written in tried.items() if written] == ["/site/x", "/tmp/x"]  # noqa: S108


def test_the_hospitals_of_a_rehearsal_run_in_it_with_equal_results(
    image: str, tmp_path: Path
) -> None:
    study, folders = small_phantom(tmp_path / "phantom", seed=20240101)
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_mode & 0o011 != 0o011 and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o011)  # the container's user passes through
    assert rehearse(study, folders, tmp_path / "run", Console(), image) == []
