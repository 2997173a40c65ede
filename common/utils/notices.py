"""Send notices by mail, chat or webhook, over Apprise, without delaying anything."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.errors import InputError, UsageError
from common.utils.text_file import read_written

Say = Callable[[str], None]
_OPEN_TO_OTHERS = 0o077
_LAST_SECONDS = 20.0
"""Time that the last notices have to get away."""
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
                    remedy="see https://appriseit.com for the form of addresses",
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


def try_addresses(post: Post | None, whence: str, say: Say, *, where: str, remedy: str) -> bool:
    """Send a notice to every address; say which did not take it, and return if all did.

    Raises
    ------
    InputError : there are no addresses.
    """
    if post is None:
        raise InputError("no addresses to send notices to", where=where, remedy=remedy)
    failed = post.send("fedlnm: a notice to try it", f"From {whence}, by hand.")
    for line in failed:
        say(f"not taken: the address in line {line}")
    if not failed:
        say("every address took it")
    return not failed


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


class Outbox:
    """Notices on their way, sent in a thread of their own: a slow service delays nothing.

    Parameters
    ----------
    post : None = no notices.
    say : takes a line for the screen, of an address that did not take one.
    """

    def __init__(self, post: Post | None, say: Say) -> None:
        self._post, self._say = post, say
        self._waiting: queue.Queue[tuple[str, str]] = queue.Queue()
        self._thread = threading.Thread(target=self._send, name="notices", daemon=True)
        if post is not None:
            self._thread.start()

    def put(self, title: str, text: str) -> None:
        """Hand a notice over."""
        self._waiting.put((title, text))

    def end(self) -> None:
        """Wait a little until all notices have left."""
        if self._post is not None:
            self._waiting.put(_END)
            self._thread.join(_LAST_SECONDS)

    def _send(self) -> None:
        while (notice := self._waiting.get()) != _END:
            failed = self._post.send(*notice) if self._post is not None else []
            if failed:
                lines = ", ".join(map(str, failed))
                self._say(f"a notice was not taken by the address in line {lines} of notices.txt")
