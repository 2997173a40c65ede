"""Notices by mail, chat or webhook: a run waits for a hospital, has ended, or has stopped.

A notice leaves the coordinator's machine by whatever way its owner has chosen, so it names run,
study, phase and hospitals, and nothing else: no message of an error, no number of patients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.utils.notices import Outbox, Post, Say, read_addresses
from common.utils.text_file import on_one_line
from server.deployment.folder import CoordinatorFolder
from server.deployment.run_folder import RunFolder
from server.progress.events import EventTail
from server.progress.screen import PHASES


def post_of(folder: CoordinatorFolder) -> Post | None:
    """Return where the coordinator's notices go to, None where it wants none."""
    addresses = read_addresses(folder.notices)
    return Post(addresses) if addresses else None


class Notices:
    """Notices about one run.

    Parameters
    ----------
    post : None = no notices.
    patience : seconds for which a hospital may be late before a notice says so.
    say : takes a line for the coordinator's screen.
    """

    def __init__(self, run: RunFolder, post: Post | None, patience: float, say: Say) -> None:
        self._run, self._patience, self._outbox = run, patience, Outbox(post, say)
        self._tail = EventTail(run.events_file, run.size_of_events())
        self._phase, self._told = "", set[str]()

    def poll(self) -> None:
        """Look at what has happened since the last call."""
        for event in self._tail.new():
            self._take(event)

    def stopped(self) -> None:
        """Tell that the run has stopped."""
        self._put("has stopped", "The coordinator's screen and fedlnm-server status say why.")

    def end(self) -> None:
        """Wait a little until all notices have left."""
        self._outbox.end()

    def _take(self, event: Mapping[str, Any]) -> None:
        kind = event["kind"]
        if kind == "phase":
            self._phase = str(event["phase"])
        elif kind == "contact":
            self._told.discard(str(event["site"]))
        elif kind == "waiting":
            late = {s["site"] for s in event["sites"] if s["seconds"] >= self._patience}
            if new := sorted(late - self._told):
                self._told |= late
                names = on_one_line(", ".join(new))
                self._put(f"waits for {names}", "Call them: fedlnm-site doctor says what is wrong.")
        elif kind == "finished":
            self._put("is finished", "Its report is in the coordinator's folder.")

    def _put(self, what: str, text: str) -> None:
        about = f"run {self._run.name} {what}"
        phase = f" ({PHASES.get(self._phase, self._phase)})" if self._phase else ""
        self._outbox.put(f"fedlnm: {about}", f"{about[0].upper()}{about[1:]}{phase}. {text}")
