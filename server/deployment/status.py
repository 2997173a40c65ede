"""State of a run of this deployment, from its events and from who is connected at the moment."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from common.errors import InputError, StudyError
from common.flower.control import Control
from common.study.model import load_study
from server.deployment.folder import SETTINGS, CoordinatorFolder, is_busy
from server.deployment.run_folder import RunFolder
from server.federation.obstacles import Obstacle
from server.progress.events import read_events
from server.progress.run import RunProgress, SiteContact, progress_of
from server.progress.screen import PHASES

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


State = Literal["not started", "under way", "finished", "stopped", "interrupted"]


@dataclass(frozen=True)
class RunStatus:
    """State of a run.

    Parameters
    ----------
    state : `interrupted` where no command keeps it going and it did not stop by itself;
        `not started` only of a simulation, whose commands leave no mark while they run.
    connections : online, offline or registered (never seen) by site; empty while nothing runs.
    sites : of the study, in roster order.
    restarts : of programs that had ended.
    """

    run: str
    study: str
    state: State
    begun: float
    progress: RunProgress
    connections: Mapping[str, str]
    sites: tuple[str, ...]
    restarts: int

    def as_dict(self) -> dict[str, Any]:
        """Return the state for --json."""
        own = {name: value for name, value in asdict(self).items() if name != "progress"}
        sites = {name: asdict(self._contact(name)) for name in self.sites}
        return {**asdict(self.progress), **own, "sites": sites}

    def lines(self) -> Iterator[str]:
        """Describe the state to people."""
        now = self.progress
        of = f" of study {self.study}" if self.study else ""
        yield f"run {self.run}{of}: {self.state}, begun {_time(self.begun)}"
        if self.state == "stopped":
            yield f"  {now.message}"
            for row in now.obstacles:
                yield f"  {Obstacle(**row)}"
        phase = PHASES.get(now.phase, now.phase) or "none yet"
        yield f"phase: {phase}" + (f" ({now.number} of {now.phases})" if now.phases else "")
        yield f"done: {int(100 * now.fraction)} %"
        if now.rounds:
            yield f"  {now.variant}: round {now.round} of {now.rounds}"
        if now.rounds_planned:
            yield f"rounds of network training: {now.rounds_done} of {now.rounds_planned}"
        if self.state == "under way":
            yield f"time left: {_words(now.seconds_left)}"
        if self.restarts:
            yield f"programs started again: {self.restarts}"
        for name in self.sites:
            yield f"  {name}: {', '.join(self._about(name))}"

    def _about(self, name: str) -> Iterator[str]:
        contact = self._contact(name)
        yield "joined" if contact.enrolled else "not yet here"
        if name in self.connections:
            yield self.connections[name]
        if contact.last_contact is not None:
            yield f"last reply {_time(contact.last_contact)}"
        if contact.waited_for_since is not None:
            why = f" ({contact.why})" if contact.why else ""
            yield f"waited for since {_time(contact.waited_for_since)}{why}"

    def _contact(self, name: str) -> SiteContact:
        return self.progress.sites.get(name, SiteContact())


def read_status(folder: CoordinatorFolder, run: RunFolder) -> RunStatus:
    """Return the state of a run."""
    return status_of(folder, run, list(run.events()))


def status_of(
    folder: CoordinatorFolder, run: RunFolder, events: Sequence[Mapping[str, Any]]
) -> RunStatus:
    """Return the state of the run that has these events."""
    study, busy = run.study, is_busy(folder)
    progress = progress_of(events, time.time())
    return RunStatus(
        run=run.name,
        study=study.name,
        state=_state(progress, busy=busy),
        begun=run.study_file.stat().st_mtime,
        progress=progress,
        connections=_connections(folder) if busy else {},
        sites=study.site_names,
        restarts=sum(event["kind"] == "restarted" for event in events),
    )


def _state(progress: RunProgress, *, busy: bool) -> State:
    if progress.state == "finished":
        return "finished"
    if busy:
        return "under way"
    return "stopped" if progress.state == "stopped" else "interrupted"


def _connections(folder: CoordinatorFolder) -> dict[str, str]:
    try:
        with closing(Control(folder.settings().superlink, folder.authority)) as control:
            return {node.name: node.status for node in control.nodes()}
    except StudyError:  # it is starting, or has just ended
        return {}


def _words(seconds: float | None) -> str:
    if seconds is None:
        return "not known yet"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"about {hours} h {minutes:02d} min" if hours else f"about {max(minutes, 1)} min"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
