"""A run of a study in a deployment: its folder, and what its events say of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.study.model import Study, load_study
from server.deployment.folder import CoordinatorFolder
from server.deployment.preparing import Prepared
from server.progress.events import read_events


@dataclass(frozen=True)
class RunFolder:
    """`runs/STUDY-TIME`; its name is also the name that the sites know the run by."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def input(self) -> Prepared:
        """Study and app as they were when the run began: a resumed run takes the same."""
        return Prepared(self.path / "input")

    @property
    def events_file(self) -> Path:
        """What has happened, one JSON a line."""
        return self.path / "events.jsonl"

    @property
    def study(self) -> Study:
        """What is studied."""
        return load_study(self.input.study_file)

    @property
    def finished(self) -> bool:
        """Whether results are there."""
        return any(event["kind"] == "finished" for event in self.events())

    def events(self, offset: int = 0) -> list[dict[str, Any]]:
        """Events that begin at or after this byte of the file."""
        return read_events(self.events_file, offset)

    def size_of_events(self) -> int:
        """Bytes of the events so far."""
        return self.events_file.stat().st_size if self.events_file.is_file() else 0

    def last_checkpoint(self) -> float:
        """When a result was last put by, in seconds since the epoch; 0 if never."""
        times = [path.stat().st_mtime for path in (self.path / "checkpoint").rglob("*")]
        return max(times, default=0.0)


def new_run(folder: CoordinatorFolder, prepared: Prepared) -> RunFolder:
    """A fresh folder for a run of a prepared study."""
    name = load_study(prepared.study_file).name
    run = RunFolder(folder.runs / f"{name}-{datetime.now():%Y%m%d-%H%M%S}")
    run.path.mkdir(parents=True)
    prepared.copy_to(run.path / "input")
    return run


def find_run(folder: CoordinatorFolder, name: str | None) -> RunFolder:
    """The run of this name, or the latest.

    Raises
    ------
    InputError : there is none.
    """
    found = [path.parent.parent for path in folder.runs.glob("*/input/study.toml")]
    found.sort(key=lambda path: path.stat().st_ctime)
    wanted = [path for path in found if name in (None, path.name)]
    if not wanted:
        known = ", ".join(path.name for path in found) or "none"
        raise InputError(
            f"no run {name}" if name else "nothing was ever run here",
            where=str(folder.runs),
            remedy=f"have: {known}",
        )
    return RunFolder(wanted[-1])
