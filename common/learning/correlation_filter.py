"""Remove redundant columns by their rank correlation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.statistics.base import Float, Int


def greedy_filter(correlation: Float, names: Sequence[str], threshold: float) -> Int:
    """Return the indices of the columns kept, increasing.

    Forward-count form: for every remaining column count the remaining columns *after it* in table
    order whose absolute correlation exceeds the threshold; remove the column with the highest
    count, of equal ones the first by name; count again; stop when no pair exceeds the threshold.
    Counting forward only is more stable than counting both ways when correlations come from binned
    ranks.

    Parameters
    ----------
    correlation : (p, p), symmetric.
    names : the p column names, in table order.
    threshold : a pair is redundant above it, not at it.

    Raises
    ------
    ValueError : sizes that do not match.
    """
    p = len(names)
    if correlation.shape != (p, p):
        raise ValueError(f"correlation is {correlation.shape} for {p} names")
    redundant = np.triu(np.abs(correlation) > threshold, 1)
    count = redundant.sum(axis=1)
    rank = np.empty(p, dtype=np.int64)
    rank[sorted(range(p), key=lambda index: names[index])] = np.arange(p)
    alive = np.ones(p, dtype=np.bool_)
    while p and count.max() > 0:
        most = np.flatnonzero(count == count.max())
        worst = int(most[np.argmin(rank[most])])
        alive[worst] = False
        count[redundant[:, worst] & alive] -= 1
        count[worst] = 0
    return np.flatnonzero(alive).astype(np.int64)
