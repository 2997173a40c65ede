"""Bands of p values for a variable with withheld counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np

from common.evaluation.suppression import Mask
from common.evaluation.table1 import TestResult
from common.statistics.base import Float

BANDS = (0.0, 0.001, 0.01, 0.05, 0.1, 1.0)


Groups = tuple[int, ...]
Band = tuple[float, float]
Judgement = tuple[str, int | None]


def p_bands(
    counts: Float,
    hidden: Mask,
    minimum: int,
    test: Callable[[Float], TestResult],
    comparisons: Sequence[Groups],
) -> tuple[Band | None, ...]:
    """Return the band of `BANDS` that each p lies in, for a variable with withheld counts.

    All digits of p would reveal which of the possible counts are the true ones. A band is published
    instead, and only if for every withheld count there is another possible table with another
    value there, the same tests and every p in the same band. A comparison that would break this
    for those before it has no band.

    Parameters
    ----------
    counts : (sets, levels + 1), patients without a value last.
    hidden : of the same shape, True = withheld.
    test : of (sets, levels) counts.
    comparisons : sets that are tested together, the most important first; each has a withheld
        count.

    Returns
    -------
    Lower and upper end for each, or None where there is no p or no band that is safe.

    Examples
    --------
    >>> from common.evaluation.table1 import contingency_test
    >>> counts = np.array([[3.0, 4.0, 60.0, 0.0], [30.0, 30.0, 10.0, 0.0]])
    >>> hidden = np.array([[True, True, False, False], [False] * 4])
    >>> p_bands(counts, hidden, 5, contingency_test, [(0, 1)])
    ((0.0, 0.001),)
    """

    @cache
    def judge(groups: Groups, cells: bytes) -> Judgement:
        own = np.frombuffer(cells).reshape(len(groups), counts.shape[1])
        return _judge(test(own[:, :-1]))

    def judged(groups: Groups, table: Float) -> Judgement:
        return judge(groups, table[list(groups)].tobytes())

    truth = {groups: judged(groups, counts) for groups in comparisons}
    shown: list[Groups] = []
    for groups in comparisons:
        tried = [*shown, groups]
        if truth[groups][1] is not None and all(
            any(
                all(judged(one, table) == truth[one] for one in tried)
                for table in _neighbours(counts, hidden, minimum, int(group), int(cell))
            )
            for group, cell in np.argwhere(hidden)
        ):
            shown.append(groups)
    return tuple(_ends(truth[groups]) if groups in shown else None for groups in comparisons)


def _ends(judgement: Judgement) -> Band | None:
    band = judgement[1]
    return None if band is None else (BANDS[band], BANDS[band + 1])


def _judge(result: TestResult) -> Judgement:
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
