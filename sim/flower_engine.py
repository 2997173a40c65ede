"""Flower's own simulation as engine: a SuperLink of this run alone, one SuperNode a hospital."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.errors import StudyError

READY_SECONDS = 60.0
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def run_flower(sites: Mapping[str, Path], run_config: Mapping[str, str], out: Path) -> None:
    """Run the study with `flwr run`; Flower's log goes to `out`/flower.log.

    Raises
    ------
    StudyError : not run from a checkout, or the run did not finish.
    """
    root = Path(__file__).resolve().parent.parent
    if not (root / "pyproject.toml").is_file():
        raise StudyError(
            "the Flower engine needs the project's folder",
            where="--engine flower",
            remedy="run it from a checkout of the project",
        )
    out.mkdir(parents=True, exist_ok=True)
    listing = out / "site-configs.txt"
    listing.write_text("\n".join(str(path.resolve()) for path in sites.values()), encoding="utf-8")
    config = {**run_config, "site-configs": str(listing.resolve())}
    overrides = " ".join(f"{key}={json.dumps(value)}" for key, value in config.items())
    cores = len(os.sched_getaffinity(0))
    federation = (
        f"num-supernodes={len(sites)} client-resources-num-cpus=1 init-args-num-cpus={cores}"
    )
    command = [_program("flwr"), "run", str(root), "--run-config", overrides]
    command += ["--federation-config", federation, "--stream"]
    with (out / "flower.log").open("wb") as log, _superlink(out, log) as environment:
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False)  # noqa: S603
    _check_finished(out)


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _superlink(out: Path, log: Any) -> Iterator[dict[str, str]]:
    """A local SuperLink on ports of its own, stopped at the end; the environment to reach it."""
    port = _free_port()
    home = (out / "flower-home").resolve()
    home.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        **QUIET,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "FLWR_HOME": str(home),
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(port),
    }
    command = [_program("flower-superlink"), "--insecure", "--simulation", "--isolation"]
    command += ["subprocess", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)  # noqa: S603
    try:
        _wait_ready(port, process)
        yield environment
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise StudyError(
        "Flower's SuperLink did not start", where="Flower engine", remedy="see flower.log"
    )


def _check_finished(out: Path) -> None:
    """Flower tells of a failed app in its log only: look at the run's own events."""
    path = out / "events.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    last: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    if last.get("kind") == "finished":
        return
    raise StudyError(
        str(last.get("message", "the run did not finish")),
        where="Flower engine",
        remedy=f"see {out / 'flower.log'}",
    )
