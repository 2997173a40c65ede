"""Sums that the attacks on comings and goings ask for, and what the coordinator makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from common.masking.layout import RingSums, from_rings
from common.messages.exchanges import Refused, SumItem
from common.statistics.moments import Means
from common.transforms import Select
from common.transforms.views import table

COLUMNS = ("marker", "stage")
VIEW = table("clinical").then(Select(columns=COLUMNS))
MEANS = SumItem(Means(), VIEW, "train")


def begun(rehearsal: Any, run: str) -> Any:
    """A run whose sites have enrolled."""
    federation = rehearsal.federation(run)
    federation.enrol()
    return federation


def totals(federation: Any, item: SumItem = MEANS) -> dict[str, Any]:
    """All that the coordinator can make of one sum: the parts of the total."""
    first = len(federation.grid.heard)
    federation.sum_many([item])
    replies = [heard.reply for heard in federation.grid.heard[first:]]
    ring64 = np.sum([reply.ring64 for reply in replies], axis=0, dtype=np.uint64)
    ring32 = np.sum([reply.ring32 for reply in replies], axis=0, dtype=np.uint32)
    return dict(from_rings(item.statistic, RingSums(ring64, ring32), len(COLUMNS)))


def refused_rules(federation: Any) -> set[str]:
    """Rules of the refusals heard."""
    replies = [heard.reply for heard in federation.grid.heard]
    return {r.rule for reply in replies if isinstance(reply, Refused) for r in reply.refusals}
