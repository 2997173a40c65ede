"""The totals of a run that its audit searches, kept until the last answer leaves.

The gate keeps them once it has checked them, in the process that talks to the coordinator; the app,
in another, reads them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.evaluation.decoders import Total, may_be_searched
from common.masking.layout import RingSums, from_rings, taken_apart
from common.messages.exchanges import SumItem, Totals
from common.messages.plain import plain, read_plain, write_plain
from common.messages.totals import groups

SUBSET = "train"


@plain
class AuditedTotal:
    """A question for a sum, and its answer."""

    item: SumItem
    sums: RingSums

    @property
    def total(self) -> Total:
        """The answer as numbers, looked at where fewest patients are."""
        statistic, p = self.item.statistic, len(self.item.view.outputs())
        return Total.of(statistic, from_rings(statistic, self.sums, p))


class AuditedTotals:
    """Those of one run, in its folder at the site."""

    def __init__(self, run: Path) -> None:
        self._folder = run / "audited"

    def keep(self, items: Sequence[SumItem], answer: Totals) -> None:
        """Keep the sums over training patients that a decoder can search."""
        places = [place for found in groups(items).values() for place in found]
        of_place = [(items[p].statistic, len(items[p].view.outputs())) for p in places]
        parts = taken_apart(RingSums(answer.ring64, answer.ring32), of_place)
        for place, sums in zip(places, parts, strict=True):
            item = items[place]
            if item.subset == SUBSET and may_be_searched(item.statistic):
                name = f"total-{answer.number:09d}-{place:04d}.safetensors"
                write_plain(self._folder / name, AuditedTotal(item, sums))

    def all(self) -> Iterator[AuditedTotal]:
        """Yield them in the order of the questions."""
        for path in sorted(self._folder.glob("total-*.safetensors")):
            found: AuditedTotal = read_plain(path)
            yield found

    def forget(self) -> None:
        """Delete them."""
        shutil.rmtree(self._folder, ignore_errors=True)
