"""One run of a study in a process of its own: federated, pooled, or one hospital alone."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from common.errors import StudyError

Engine = Literal["inprocess", "flower"]
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class Job:
    """A run to make.

    Parameters
    ----------
    label : `federated`, `pooled` or `local:NAME`.
    study : path of the study file it runs.
    sites : path of site.toml by site.
    out : its folder.
    """

    label: str
    study: Path
    sites: Mapping[str, Path]
    out: Path
    engine: Engine = "inprocess"

    @property
    def run_config(self) -> dict[str, str]:
        """What the ServerApp and the ClientApps are told."""
        return {
            "study": str(self.study.resolve()),
            "out": str(self.out.resolve()),
            "label": self.label,
            "engine": self.engine,
            "report": "no",  # written once, when all runs are there
        }


@dataclass(frozen=True)
class Outcome:
    """How a job ended: an error to show, or nothing."""

    label: str
    error: str = ""
    exit_code: int = 0

    def as_error(self) -> StudyError:
        """The job's error, to be raised in the process that started it."""
        error = StudyError(self.error, where=self.label)
        error.exit_code = self.exit_code
        return error


def run_job(job: Job) -> Outcome:
    """Run one job here; errors a person can act on come back as an outcome."""
    os.environ.update(QUIET)
    configure_screen(job.label)
    try:
        if job.engine == "flower":
            _run_flower(job)
        else:
            _run_in_process(job)
    except StudyError as error:
        return Outcome(job.label, str(error), error.exit_code)
    return Outcome(job.label)


def configure_screen(label: str) -> None:
    """Send what sites say on their own screens to standard error."""
    logger = logging.getLogger("fedlnm.site")
    logger.handlers.clear()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"[{label}] %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False


def _run_in_process(job: Job) -> None:
    from client.app import app as client_app
    from server.app import app as server_app
    from sim.inprocess import run_in_process

    run_in_process(server_app, client_app, job.sites, job.run_config)


def _run_flower(job: Job) -> None:
    """Flower's own simulation of the same two apps; its log goes to the run's folder."""
    root = Path(__file__).resolve().parent.parent
    if not (root / "pyproject.toml").is_file():
        raise StudyError(
            "the Flower engine needs the project's folder",
            where="--engine flower",
            remedy="run it from a checkout of the project",
        )
    job.out.mkdir(parents=True, exist_ok=True)
    listing = job.out / "site-configs.txt"
    listing.write_text("\n".join(str(path.resolve()) for path in job.sites.values()))
    config = {**job.run_config, "site-configs": str(listing.resolve())}
    overrides = " ".join(f"{key}={json.dumps(value)}" for key, value in config.items())
    cores = len(os.sched_getaffinity(0))
    federation = (
        f"num-supernodes={len(job.sites)} client-resources-num-cpus=1 init-args-num-cpus={cores}"
    )
    flwr = Path(sys.executable).with_name("flwr")
    command = [str(flwr), "run", str(root), "--run-config", overrides]
    command += ["--federation-config", federation, "--stream"]
    home = job.out / "flower-home"
    environment = {**os.environ, "FLWR_HOME": str(home.resolve())}
    with (job.out / "flower.log").open("wb") as log:
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False)  # noqa: S603
    _check_finished(job)


def _check_finished(job: Job) -> None:
    """Flower reports a failed app on its log only: look at the run's own events."""
    path = job.out / "events.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    last: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    if last.get("kind") == "finished":
        return
    raise StudyError(
        str(last.get("message", "the run did not finish")),
        where="Flower engine",
        remedy=f"see {job.out / 'flower.log'}",
    )
