"""Run of a study in a process of its own: federated, pooled, or one hospital alone."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from client.store.run_keys import new_start
from common.errors import StudyError
from common.flower.programs import QUIET
from common.utils.console import PlainFormatter
from common.utils.processes import in_words
from server.federation.obstacles import Obstacle, ObstaclesError

Engine = Literal["inprocess", "flower"]


@dataclass(frozen=True)
class Job:
    """One run to make.

    Parameters
    ----------
    label : `federated`, `pooled`, `local:NAME` or `without:NAME`.
    study : path of the study file it runs.
    sites : path of site.toml by site.
    out : its folder.
    identity : the coordinator's key file, None where the models are not signed.
    run_name : what the sites know the run by, the label where it is empty.
    """

    label: str
    study: Path
    sites: Mapping[str, Path]
    out: Path
    engine: Engine = "inprocess"
    identity: Path | None = None
    run_name: str = ""

    @property
    def run_config(self) -> dict[str, str]:
        """Configuration of the ServerApp and the ClientApps."""
        return {
            "study": str(self.study.resolve()),
            "out": str(self.out.resolve()),
            "label": self.label,
            "run-name": self.run_name,
            "engine": self.engine,
            "identity": str(self.identity.resolve()) if self.identity else "",
            "report": "no",  # written once, when all runs are complete
        }


@dataclass(frozen=True)
class Outcome:
    """End of a job: an error to show, or nothing.

    Parameters
    ----------
    rows, note : of sites that could not take part.
    """

    label: str
    error: str = ""
    exit_code: int = 0
    rows: tuple[Obstacle, ...] = ()
    note: str = ""

    def as_error(self) -> StudyError:
        """Return the job's error, to be raised in the process that started it."""
        if self.rows:
            return ObstaclesError(self.rows, self.note)
        error = StudyError(self.error, where=self.label)
        error.exit_code = self.exit_code
        return error


def run_job(job: Job) -> Outcome:
    """Run one job here; errors that a person can act on come back as an outcome."""
    os.environ.update(QUIET | new_start())
    configure_screen(job.label)
    try:
        if job.engine == "flower":
            from sim.engines.flower import run_flower

            run_flower(job.sites, job.run_config, job.out)
        else:
            _run_in_process(job)
    except ObstaclesError as error:
        return Outcome(job.label, str(error), error.exit_code, error.rows, error.note)
    except StudyError as error:
        return Outcome(job.label, str(error), error.exit_code)
    except OSError as error:
        return Outcome(job.label, str(in_words(error)), 1)
    return Outcome(job.label)


def configure_screen(label: str) -> None:
    """Send the sites' screen output to standard error."""
    logger = logging.getLogger("fedlnm.site")
    logger.handlers.clear()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter(f"[{label}] %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False


def _run_in_process(job: Job) -> None:
    from client.app import app as client_app
    from client.site import load_site
    from server.app import app as server_app
    from sim.engines.inprocess import run_in_process
    from sim.sites import place_secret

    for name, path in job.sites.items():
        place_secret(name, load_site(path).work)
    run_in_process(server_app, client_app, job.sites, job.run_config)
