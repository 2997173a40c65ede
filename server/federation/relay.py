"""Answers that later questions depend on, kept until every site that derives them has them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from common.messages.exchanges import Agreed, Progress, Totals
from common.messages.plain import read_plain, write_plain
from common.models import load_models

MOST_WAITING = 64 * 2**20
"""Bytes of answers that wait for a site, or travel to it with a question, before more are sent."""
Entry = Totals | Agreed


class Relay:
    """The answers of a run by number, and how far every site has heard.

    Where they lie in a folder, the newest alone is in memory too: a hospital that is away for long
    may miss many rounds of a large network.

    Parameters
    ----------
    folder : where they lie, so that a resumed run can still send them; None = in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._memory: dict[int, Entry] = {}
        self._sizes: dict[int, int] = {}
        self._heard: dict[str, int] = {}
        if folder is not None and folder.is_dir():
            load_models()  # their files say what values may be among the answers
            for path in folder.glob("entry-*.safetensors"):
                entry: Entry = read_plain(path)
                self._sizes[entry.number] = _size(entry)

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

    def add(self, entry: Entry) -> None:
        """Keep an answer."""
        if not self.needed:
            return
        if self._folder is not None:
            write_plain(self._path(entry.number), entry)
            self._memory.clear()
        self._memory[entry.number] = entry
        self._sizes[entry.number] = _size(entry)

    def since(self, site: str, number: int) -> Progress:
        """Return what a site has not heard of yet, of the questions before this one."""
        return tuple(self._entry(n) for n in self._missing(site, number))

    def pieces(self, site: str, number: int) -> tuple[int, ...]:
        """Cut what a site has not heard of before a question into parts, but for the last.

        Returns
        -------
        numbers : of the questions at which to cut; each part is an answer, or several of at most
            `MOST_WAITING` bytes.
        """
        cuts: list[int] = []
        size = 0
        for missing in self._missing(site, number):
            if size and size + self._sizes[missing] > MOST_WAITING:
                cuts.append(missing)
                size = 0
            size += self._sizes[missing]
        return tuple(cuts)

    def behind(self, number: int) -> tuple[str, ...]:
        """Name sites for which more than `MOST_WAITING` bytes wait, before a question."""
        late = []
        for site in self._heard:
            waiting = sum(self._sizes[n] for n in self._missing(site, number))
            # what came last goes to most sites with their next question
            newest = max(self._sizes, default=0)
            if waiting > MOST_WAITING and self._heard[site] < newest:
                late.append(site)
        return tuple(late)

    def heard(self, site: str, number: int) -> None:
        """Note that a site has answered a question, and so has all before it."""
        if site not in self._heard:
            return
        self._heard[site] = max(self._heard[site], number)
        for old in [n for n in self._sizes if n < min(self._heard.values())]:
            del self._sizes[old]
            self._memory.pop(old, None)
            if self._folder is not None:
                self._path(old).unlink(missing_ok=True)

    def _missing(self, site: str, number: int) -> list[int]:
        return [n for n in sorted(self._sizes) if self._heard[site] <= n < number]

    def _entry(self, number: int) -> Entry:
        if number not in self._memory:
            found: Entry = read_plain(self._path(number))
            return found
        return self._memory[number]

    def _path(self, number: int) -> Path:
        return Path(self._folder or "") / f"entry-{number:09d}.safetensors"


def _size(entry: Entry) -> int:
    if isinstance(entry, Agreed):
        return 0
    return entry.ring64.nbytes + entry.ring32.nbytes + entry.narrow.nbytes
