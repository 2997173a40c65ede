"""Status of a run on one machine: a run folder without a coordinator's folder around it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.study.model import load_study
from server.deployment.folder import SETTINGS
from server.deployment.status import RunStatus
from server.progress.events import read_events
from server.progress.run import progress_of

EVENTS = "events.jsonl"


def is_run_folder(folder: Path) -> bool:
    """Tell a run's own folder from a coordinator's."""
    return folder.is_dir() and not (folder / SETTINGS).is_file()


def check_run_folder(folder: Path) -> None:
    """Refuse a folder that holds nothing of a run.

    Raises
    ------
    InputError : of whatever else the folder may be.
    """
    known = (EVENTS, "sites", "input", "study.toml", "results.json")
    if not any((folder / name).exists() for name in known):
        raise InputError(
            "not a coordinator's folder (no coordinator.toml), and not that of a run",
            where=str(folder),
            remedy="give what fedlnm-server init, or fedlnm-sim run --out, has made",
        )


def read_simulated(folder: Path) -> RunStatus:
    """Return the status of the run in this folder."""
    check_run_folder(folder)
    return simulated_status(folder, list(read_events(folder / EVENTS)))


def simulated_status(folder: Path, events: Sequence[Mapping[str, Any]]) -> RunStatus:
    """Return the status of the run whose events these are, even before it has a study."""
    file = next((f for f in _study_files(folder) if f.is_file()), None)
    study = load_study(file) if file else None
    progress = progress_of(events, time.time())
    return RunStatus(
        run=folder.resolve().name,
        study=study.name if study else "",
        state=progress.state,
        begun=float(events[0]["time"]) if events else folder.stat().st_mtime,
        progress=progress,
        connections={},
        sites=study.site_names if study else tuple(progress.sites),
        restarts=sum(event["kind"] == "restarted" for event in events),
    )


def _study_files(folder: Path) -> tuple[Path, ...]:
    return folder / "study.toml", folder / "input" / "study.toml"
