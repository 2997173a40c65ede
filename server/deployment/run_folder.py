"""Folder of a run of a study in a deployment."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.study.model import Study, load_study
from common.utils.processes import is_held
from common.utils.text_file import as_word
from server.deployment.folder import CoordinatorFolder
from server.progress.events import read_events

PROGRAM_LOCK = "program.lock"
"""File that the study's program holds for as long as it lives."""


@dataclass(frozen=True)
class RunFolder:
    """Folder `runs/STUDY-TIME`; the sites know the run by the same name."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def study_file(self) -> Path:
        """The study as it was when the run began: a resumed run takes the same."""
        return self.path / "input" / "study.toml"

    @property
    def events_file(self) -> Path:
        """Events of the run, one JSON a line."""
        return self.path / "events.jsonl"

    @property
    def program_lives(self) -> bool:
        """Tell if the study's program is there."""
        return is_held(self.path / PROGRAM_LOCK)

    @property
    def study(self) -> Study:
        """The study of the run."""
        return load_study(self.study_file)

    @property
    def finished(self) -> bool:
        """Tell if results are there."""
        return any(event["kind"] == "finished" for event in self.events())

    def events(self, offset: int = 0) -> list[dict[str, Any]]:
        """Read the events that begin at or after this byte of the file."""
        return read_events(self.events_file, offset)

    def size_of_events(self) -> int:
        """Return the bytes of the events so far."""
        return self.events_file.stat().st_size if self.events_file.is_file() else 0

    def last_checkpoint(self) -> float:
        """Return when a result was last saved, in seconds since the epoch; 0 if never."""
        times = [path.stat().st_mtime for path in (self.path / "checkpoint").rglob("*")]
        return max(times, default=0.0)


def new_run(folder: CoordinatorFolder, study_file: Path) -> RunFolder:
    """Make a fresh folder for a run of a prepared study."""
    name = load_study(study_file).name
    run = RunFolder(folder.runs / f"{name}-{datetime.now():%Y%m%d-%H%M%S}")
    run.study_file.parent.mkdir(parents=True)
    shutil.copyfile(study_file, run.study_file)
    return run


def unfinished_run(folder: CoordinatorFolder, study_file: Path) -> RunFolder | None:
    """Return the latest run of exactly this prepared study, unless it is finished or none."""
    latest = latest_run(folder, study_file)
    return None if latest is None or latest.finished else latest


def latest_run(folder: CoordinatorFolder, study_file: Path) -> RunFolder | None:
    """Return the latest run of exactly this prepared study, None where there is none."""
    digest = load_study(study_file).digest()
    for run in reversed(_runs(folder)):
        try:
            if run.study.digest() == digest:
                return run
        except InputError:  # of another release: it cannot go on here
            continue
    return None


def _runs(folder: CoordinatorFolder) -> list[RunFolder]:
    """Return all runs, the oldest first."""
    found = [path.parent.parent for path in folder.runs.glob("*/input/study.toml")]
    return [RunFolder(path) for path in sorted(found, key=lambda path: path.stat().st_ctime)]


def find_run(folder: CoordinatorFolder, name: str | None) -> RunFolder:
    """Return the run of this name, or the latest.

    Raises
    ------
    InputError : there is none.
    """
    found = _runs(folder)
    wanted = [run for run in found if name in (None, run.name)]
    if not wanted:
        known = ", ".join(run.name for run in found)
        raise InputError(
            f"no run {name}" if found else "nothing was ever run here",
            where=str(folder.runs),
            remedy=f"have: {known}" if found else f"fedlnm-server run {as_word(folder.root)} STUDY",
        )
    return wanted[-1]
