"""Flower's own simulation as engine: a SuperLink of this run alone, one SuperNode per hospital."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from common.errors import StudyError
from common.flower.programs import flower_environment, flower_program
from common.utils.processes import BackgroundProgram, free_port, kept, wait_until_ready
from server.progress.events import read_events

LOG = "flower.log"


def run_flower(sites: Mapping[str, Path], run_config: Mapping[str, str], out: Path) -> None:
    """Run the study with `flwr run`; Flower's log goes to `out`/flower.log.

    Raises
    ------
    StudyError : Ray is not installed, not run from a checkout, or the run did not finish.
    """
    if find_spec("ray") is None:
        raise StudyError(
            "Flower's simulation needs Ray, which is not installed",
            where="--engine flower",
            remedy='pip install "fedlnm[sim]", or leave --engine away',
        )
    root = Path(__file__).resolve().parents[2]
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
    command = [flower_program("flwr"), "run", str(root), "--run-config", overrides]
    command += ["--federation-config", federation, "--stream"]
    (out / LOG).unlink(missing_ok=True)
    events = out / "events.jsonl"
    before = events.stat().st_size if events.is_file() else 0
    with _superlink(out) as environment, (out / LOG).open("ab") as log:
        subprocess.run(  # noqa: S603
            kept(command), stdout=log, stderr=subprocess.STDOUT, env=environment, check=False
        )
    _check_finished(out, list(read_events(events, before)))


@contextmanager
def _superlink(out: Path) -> Iterator[dict[str, str]]:
    """Start a local SuperLink on a port of its own, stopped at the end; yield its environment."""
    port = free_port()
    home = (out / "flower-home").resolve()
    home.mkdir(parents=True, exist_ok=True)
    environment = {
        **flower_environment(home),
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(port),
    }
    command = [flower_program("flower-superlink"), "--insecure", "--simulation", "--isolation"]
    command += ["subprocess", "--host", "127.0.0.1", "--port", str(port)]
    program = BackgroundProgram(command, environment, out / LOG)
    try:
        program.start()
        wait_until_ready(program, port)
        yield environment
    finally:
        program.stop()


def _check_finished(out: Path, events: Sequence[dict[str, Any]]) -> None:
    """Check the run's own events: Flower reports a failed app in its log only."""
    last = events[-1] if events else {"kind": ""}
    if last["kind"] == "finished":
        return
    raise StudyError(
        str(last.get("message", "the run did not finish")),
        where="Flower engine",
        remedy=f"see {out / LOG}",
    )
