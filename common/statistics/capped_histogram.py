"""Find the cells that several sites share, and join those that are not shared enough.

A site that learns how many rows of all sites a cell holds can subtract its own. The remainder must
be zero, or enough rows to hide among. The coordinator knows no site's counts; it asks for counts to
which no site adds more than `cap` rows, and these bound the remainder from below.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Rows, Sums
from common.statistics.exact import matches
from common.statistics.histogram import Histogram, HistogramResult, cell_counts, filled_up


@plain
class CappedHistogram:
    """Counts per column and cell, to which each site adds at most `cap`.

    Parameters
    ----------
    edges : (p, cells + 1), not decreasing; end cells reach to infinity.
    cap : most rows that a site counts in one cell.

    Examples
    --------
    >>> rows = Rows(np.array([[1.0], [1.5], [4.0]]), ("age",), np.zeros(3), np.zeros(3, int))
    >>> capped = CappedHistogram(edges=np.array([[0.0, 2.0, 5.0]]), cap=1)
    >>> capped.finalise(capped.from_rows(rows))
    array([[1., 1.]])
    """

    edges: Float
    cap: int

    kind: ClassVar[str] = "rank_histogram"
    step: ClassVar[dict[str, float]] = {"counts": 0.5}
    bits: ClassVar[dict[str, int]] = {"counts": 32}
    tally: ClassVar[dict[str, str]] = {"counts": "cells"}
    about: ClassVar[str] = (
        "How many patients lie in each interval of each column, where no hospital counts for"
        " more than a few."
    )
    attack: ClassVar[str] = (
        "It tells whether several hospitals or one have patients in an interval, not which. It"
        " says less than the histogram that it goes with."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"counts": ("columns", "cells")}

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare one matrix, columns by cells."""
        return Histogram(edges=self.edges).shapes(p)

    def from_rows(self, rows: Rows) -> Sums:
        """Return the capped counts of the site, or of each hospital whose rows it holds, added up.

        A pooled reference thus gets the cells of its federation.
        """
        matches(self.edges, rows, "edges")
        origin = np.zeros(rows.n, dtype=np.int64) if rows.origin is None else rows.origin
        counts = np.zeros((rows.p, self.edges.shape[1] - 1))
        for column, (values, edges) in enumerate(zip(rows.values.T, self.edges, strict=True)):
            for hospital in np.unique(origin):
                own = cell_counts(values[origin == hospital], edges)
                counts[column] += np.minimum(own, self.cap)
        return {"counts": counts}

    def finalise(self, sums: Sums) -> Float:
        """Return the sum of the sites' capped counts, (p, cells)."""
        return sums["counts"]


def cap_for(minimum: int) -> int:
    """Return the cap that best shows whether a small cell leaves `minimum` rows."""
    return max(minimum - 1, 1)


def share_cells(histogram: HistogramResult, capped: Float, minimum: int) -> HistogramResult:
    """Join neighbouring cells until no site alone can see fewer than `minimum` rows of others.

    With c the capped count of a cell, at least c - cap rows remain when any one site subtracts its
    own: the site itself counts at most cap of c. In a join these bounds add up. A cell of one site
    alone leaves nothing and may stand by itself: others see at least all of it.

    Parameters
    ----------
    histogram : counts of all sites; non-empty cells hold more than `cap_for(minimum)` rows, or
        they are joined.
    capped : (p, cells), of the same cells, capped at `cap_for(minimum)`.
    minimum : fewest rows that may remain, other than none.
    """
    cap = cap_for(minimum)
    joined: list[tuple[list[float], list[float]]] = []
    for edges, counts, own in zip(histogram.edges, histogram.counts, capped, strict=True):
        left = np.maximum(own - cap, 0.0)
        alone = (own < cap + 0.5) & (counts > max(cap, minimum - 1) + 0.5)
        joined.append(_joined(edges[1:], counts, left, alone, minimum))
    return filled_up(joined)


def _joined(
    right: Float, counts: Float, left: Float, alone: Float, minimum: int
) -> tuple[list[float], list[float]]:
    """Return right edges and sizes of the joined cells of one column."""
    ends: list[float] = []
    # rows, bound on the remainder, and whether it is one cell of one site
    cells: list[tuple[float, float, bool]] = []
    size = bound = 0.0
    members = 0
    for end, count, rest, one_site in zip(right, counts, left, alone, strict=True):
        if count < 0.5:
            continue
        size, bound, members = size + count, bound + rest, members + 1
        stands = bool(members == 1 and one_site)
        if stands or bound > minimum - 0.5:
            ends.append(float(end))
            cells.append((size, bound, stands))
            size = bound = 0.0
            members = 0
    while members and cells:
        ends.pop()
        more, rest, _ = cells.pop()
        size, bound = size + more, bound + rest
        if bound > minimum - 0.5:
            break
    if members:
        ends.append(np.inf)
        cells.append((size, bound, False))
    ends[-1:] = [np.inf]
    return ends, [rows for rows, _, _ in cells]
