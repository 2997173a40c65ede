"""How many gradients a run was given on the same columns; each tells a little of some patients."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from client.digest_pairs import DigestPairs
from common.exchanges import SumItem
from common.ledger.asked import request_digest

FILE = "gradient-rounds.txt"


class GradientRounds:
    """Counts over all processes of a run.

    Parameters
    ----------
    folder : the run's folder at this site.
    """

    def __init__(self, folder: Path) -> None:
        self._pairs = DigestPairs(folder / FILE)
        self._items: dict[str, set[str]] = defaultdict(set)

    def with_this(self, item: SumItem) -> int:
        """Different gradients on the item's columns, this one among them.

        The same question once more, as after an interruption, has the same answer and counts once.
        """
        view = request_digest(item.view, item.subset)
        with self._pairs.exclusive():
            for known, asked in self._pairs.new():
                self._items[known].add(asked)
            if item.digest not in self._items[view]:
                self._pairs.add([(view, item.digest)])
                self._items[view].add(item.digest)
        return len(self._items[view])
