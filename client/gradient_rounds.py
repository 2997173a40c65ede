"""How many gradients a run was given on the same columns; each tells a little of some patients."""

from __future__ import annotations

from pathlib import Path

from common.durable import append_durably
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
        self._path = folder / FILE

    def with_this(self, item: SumItem) -> int:
        """Different gradients on the item's columns, this one among them.

        The same question once more, as after an interruption, has the same answer and counts once.
        """
        view = request_digest(item.view, item.subset)
        lines = self._path.read_text(encoding="utf-8").split("\n") if self._path.is_file() else []
        known = {line for line in lines if line.startswith(view)}
        line = f"{view} {item.digest}"
        if line not in known:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            append_durably(self._path, f"{line}\n".encode())
        return len(known | {line})
