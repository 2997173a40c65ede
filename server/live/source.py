"""Where the page's facts come from: a run of a deployment, or one on this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from server.deployment.folder import CoordinatorFolder
from server.deployment.run_folder import RunFolder
from server.deployment.status import RunStatus, status_of
from server.live.snapshot import snapshot
from server.live.tail import EventTail
from server.progress.simulated_status import EVENTS, simulated_status

FRESH_SECONDS = 1.0
Reader = Callable[[Sequence[Mapping[str, Any]]], RunStatus]


class LiveRun:
    """A run as it is now; many pages that ask at once cost no more than one.

    Parameters
    ----------
    folder : of the run.
    status : what its events mean.
    """

    def __init__(self, folder: Path, status: Reader) -> None:
        self._folder, self._status = folder, status
        self._tail = EventTail(folder / EVENTS)
        self._lock = threading.Lock()
        self._known: dict[str, Any] = {}
        self._read_at = -FRESH_SECONDS

    def read(self) -> dict[str, Any]:
        """What the page shows, at most a second old."""
        with self._lock:
            if time.monotonic() - self._read_at >= FRESH_SECONDS:
                told = self._tail.events()
                self._known = snapshot(self._status(told), told, self._folder)
                self._read_at = time.monotonic()
            return self._known


def of_deployment(folder: CoordinatorFolder, run: RunFolder) -> LiveRun:
    """A run of the coordinator of this folder."""
    return LiveRun(run.path, lambda told: status_of(folder, run, told))


def of_simulation(folder: Path) -> LiveRun:
    """A run whose folder this is."""
    return LiveRun(folder, lambda told: simulated_status(folder, told))
