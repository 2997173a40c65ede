"""Band of a p value for a variable with withheld counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from common.evaluation.suppression import Mask
from common.evaluation.table1 import TestResult
from common.statistics.base import Float

BANDS = (0.0, 0.001, 0.01, 0.05, 0.1, 1.0)


def p_band(
    counts: Float, hidden: Mask, minimum: int, test: Callable[[Float], TestResult]
) -> tuple[float, float] | None:
    """Return the band of `BANDS` that p lies in, for a variable with withheld counts.

    All digits of p would reveal which of the possible counts are the true ones. A band is published
    instead, and only if for every withheld count there is another possible table with another
    value there, the same test and p in the same band.

    Parameters
    ----------
    counts : (sets, levels + 1), patients without a value last.
    hidden : of the same shape, True = withheld.
    test : of (sets, levels) counts.

    Returns
    -------
    Lower and upper end, or None where there is no p or no band that is safe.

    Examples
    --------
    >>> from common.evaluation.table1 import contingency_test
    >>> counts = np.array([[3.0, 4.0, 60.0, 0.0], [30.0, 30.0, 10.0, 0.0]])
    >>> hidden = np.array([[True, True, False, False], [False] * 4])
    >>> p_band(counts, hidden, 5, contingency_test)
    (0.0, 0.001)
    """
    name, band = _judge(test(counts[:, :-1]))
    if band is None:
        return None
    for place in np.argwhere(hidden):
        others = _neighbours(counts, hidden, minimum, int(place[0]), int(place[1]))
        if not any(_judge(test(table[:, :-1])) == (name, band) for table in others):
            return None
    return BANDS[band], BANDS[band + 1]


def _judge(result: TestResult) -> tuple[str, int | None]:
    """Return the name of the test and the number of its band."""
    if np.isnan(result.p):
        return result.test, None
    return result.test, int(np.searchsorted(BANDS[1:-1], result.p, side="right"))


def _neighbours(
    counts: Float, hidden: Mask, minimum: int, group: int, cell: int
) -> Iterator[Float]:
    """Yield tables with the same published cells and one patient moved into or out of a gap."""
    floor = 0.0 if hidden[group].all() else 1.0
    for other in np.flatnonzero(hidden[group]):
        for step in (1.0, -1.0):
            table = counts.copy()
            table[group, cell] += step
            table[group, other] -= step
            gaps = table[group][hidden[group]]
            levels = table[group, :-1]
            small = (levels > 0) & (levels < minimum) & hidden[group, :-1]
            if other != cell and gaps.min() >= floor and small.any():
                yield table
