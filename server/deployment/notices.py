"""Notices by mail, chat or webhook: a run waits for a hospital, has ended, or has stopped.

A notice leaves the coordinator's machine by whatever way its owner has chosen, so it names run,
study, phase and hospitals, and nothing else: no message of an error, no number of patients.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.errors import InputError, UsageError
from common.utils.text_file import on_one_line, read_written
from server.deployment.folder import CoordinatorFolder
from server.deployment.run_folder import RunFolder
from server.progress.events import EventTail

Say = Callable[[str], None]
_OPEN_TO_OTHERS = 0o077
_LAST_SECONDS = 20.0
"""Time that the last notices of a run have to get away."""
_END: tuple[str, str] = ("", "")


class Post:
    """Addresses that notices go to.

    Parameters
    ----------
    addresses : URLs of Apprise, which may hold passwords.

    Raises
    ------
    UsageError : Apprise is not installed.
    InputError : an address that it does not know, named by its line alone.
    """

    def __init__(self, addresses: Mapping[int, str]) -> None:
        try:
            import apprise
        except ImportError:
            raise UsageError(
                "notices need Apprise, which is not installed",
                where="notices.txt",
                remedy='pip install "fedlnm[notices]", or take notices.txt away',
            ) from None
        # its own log would show parts of addresses
        log = logging.getLogger("apprise")
        log.handlers, log.propagate = [logging.NullHandler()], False
        self._senders: dict[int, Any] = {}
        for line, address in addresses.items():
            sender = apprise.Apprise()
            if not sender.add(address):
                raise InputError(
                    f"line {line} is no address that Apprise knows",
                    where="notices.txt",
                    remedy="see docs/coordinator.md, Notices, and https://appriseit.com",
                )
            self._senders[line] = sender

    def send(self, title: str, text: str) -> list[int]:
        """Send to every address; return the lines of those that did not take it."""
        failed = []
        for line, sender in self._senders.items():
            try:
                taken = bool(sender.notify(title=title, body=text))
            except Exception:  # of any service; its text may hold the address
                taken = False
            if not taken:
                failed.append(line)
        return failed


def read_addresses(path: Path) -> dict[int, str]:
    """Return the addresses of a file by their lines; none where there is no file.

    Raises
    ------
    InputError : others on this machine may read the file.
    """
    if not path.is_file():
        return {}
    if path.stat().st_mode & _OPEN_TO_OTHERS:
        raise InputError(
            "other users of this machine may read it, and it may hold passwords",
            where=str(path),
            remedy=f"chmod 600 {path}",
        )
    lines = enumerate(read_written(path).splitlines(), 1)
    found = {number: line.strip() for number, line in lines}
    return {number: line for number, line in found.items() if line and not line.startswith("#")}


def post_of(folder: CoordinatorFolder) -> Post | None:
    """Return where the coordinator's notices go to, None where it wants none."""
    addresses = read_addresses(folder.notices)
    return Post(addresses) if addresses else None


class Notices:
    """Notices about one run, sent in a thread of their own: a slow service delays nothing.

    Parameters
    ----------
    post : None = no notices.
    patience : seconds for which a hospital may be late before a notice says so.
    say : takes a line for the coordinator's screen.
    """

    def __init__(self, run: RunFolder, post: Post | None, patience: float, say: Say) -> None:
        self._run, self._patience, self._say, self._post = run, patience, say, post
        self._tail = EventTail(run.events_file, run.size_of_events())
        self._phase, self._told = "", set[str]()
        self._waiting: queue.Queue[tuple[str, str]] = queue.Queue()
        self._thread = threading.Thread(target=self._send, name="notices", daemon=True)
        if post is not None:
            self._thread.start()

    def poll(self) -> None:
        """Look at what has happened since the last call."""
        for event in self._tail.new():
            self._take(event)

    def stopped(self) -> None:
        """Tell that the run has stopped."""
        self._put("has stopped", "The coordinator's screen and fedlnm-server status say why.")

    def end(self) -> None:
        """Wait a little until all notices have left."""
        if self._post is not None:
            self._waiting.put(_END)
            self._thread.join(_LAST_SECONDS)

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
        phase = f" (phase {self._phase})" if self._phase else ""
        self._waiting.put((f"fedlnm: {about}", f"{about[0].upper()}{about[1:]}{phase}. {text}"))

    def _send(self) -> None:
        while (notice := self._waiting.get()) != _END:
            failed = self._post.send(*notice) if self._post is not None else []
            if failed:
                lines = ", ".join(map(str, failed))
                self._say(f"a notice was not taken by the address in line {lines} of notices.txt")
