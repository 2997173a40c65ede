"""Answers that later questions depend on, kept until every site that derives them has them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from common.messages.exchanges import Agreed, Progress, Totals
from common.messages.plain import read_plain, write_plain
from common.models import load_models

MOST_WAITING = 64 * 2**20


class Relay:
    """The answers of a run by number, and how far every site has heard.

    Parameters
    ----------
    folder : where they lie, so that a resumed run can still send them; None = in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._kept: dict[int, Totals | Agreed] = {}
        self._heard: dict[str, int] = {}
        if folder is not None and folder.is_dir():
            load_models()  # their files say what values may be among the answers
            found = (read_plain(path) for path in folder.glob("entry-*.safetensors"))
            self._kept = {entry.number: entry for entry in found}

    def wait_for(self, sites: Iterable[str]) -> None:
        """Keep answers for these sites, which may have heard of none."""
        self._heard = dict.fromkeys(sites, 0)

    @property
    def needed(self) -> bool:
        """Return whether any site derives the questions."""
        return bool(self._heard)

    def derives(self, site: str) -> bool:
        """Return whether a site derives the questions."""
        return site in self._heard

    def add(self, entry: Totals | Agreed) -> None:
        """Keep an answer."""
        if self.needed:
            self._kept[entry.number] = entry
            if self._folder is not None:
                write_plain(self._path(entry.number), entry)

    def since(self, site: str, number: int) -> Progress:
        """Return what a site has not heard of yet, of the questions before this one."""
        start = self._heard[site]
        return tuple(self._kept[n] for n in sorted(self._kept) if start <= n < number)

    def behind(self, number: int) -> tuple[str, ...]:
        """Name sites for which more than `MOST_WAITING` bytes wait, before a question."""
        late = []
        for site in self._heard:
            waiting = sum(_size(entry) for entry in self.since(site, number))
            # what came last goes to most sites with their next question
            newest = max(self._kept, default=0)
            if waiting > MOST_WAITING and self._heard[site] < newest:
                late.append(site)
        return tuple(late)

    def heard(self, site: str, number: int) -> None:
        """Note that a site has answered a question, and so has all before it."""
        if site not in self._heard:
            return
        self._heard[site] = max(self._heard[site], number)
        for old in [n for n in self._kept if n < min(self._heard.values())]:
            del self._kept[old]
            if self._folder is not None:
                self._path(old).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return Path(self._folder or "") / f"entry-{number:09d}.safetensors"


def _size(entry: Totals | Agreed) -> int:
    if isinstance(entry, Agreed):
        return 0
    return entry.ring64.nbytes + entry.ring32.nbytes + entry.ring16.nbytes
