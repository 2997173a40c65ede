"""How many gradients a study was given on the same tables; each tells a little of some patients."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from client.store.digest_pairs import DigestPairs
from client.store.state import safe_name
from common.disclosure.gradients import tables_read
from common.ledger.entry import request_digest
from common.messages.exchanges import SumItem

FILE = "gradient-rounds.txt"


class GradientRounds:
    """Counts over all processes and runs of a study: a run's name is the coordinator's choice.

    Parameters
    ----------
    work : the site's work folder.
    study : its digest.
    """

    def __init__(self, work: Path, study: str) -> None:
        self._pairs = DigestPairs(work / "gradients" / safe_name(study) / FILE)
        self._items: dict[str, set[str]] = defaultdict(set)

    def with_this(self, item: SumItem) -> dict[str, int]:
        """Different questions on each base table that the item reads, this one among them.

        The same question once more, as after an interruption or in another run, has the same
        answer and counts once.
        """
        keys = {base: request_digest(base, item.subset) for base in tables_read(item.view)}
        with self._pairs.exclusive():
            for known, asked in self._pairs.new():
                self._items[known].add(asked)
            new = [key for key in keys.values() if item.digest not in self._items[key]]
            self._pairs.add((key, item.digest) for key in new)
            for key in new:
                self._items[key].add(item.digest)
        return {base: len(self._items[key]) for base, key in keys.items()}
