"""P values of several tests, corrected for their number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.statistics.base import Float


def holm(p: Sequence[float] | Float) -> Float:
    """Return P values (n,) corrected by Holm's method (1979, Scand J Stat 6:65-70).

    They bound the chance of any false finding among the tests, whatever their dependence. A test
    that was not made (NaN) does not count.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(p, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(given))
    order = known[np.argsort(given[known], kind="stable")]
    factors = np.arange(order.size, 0, -1)
    corrected = np.full(given.shape, np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(given[order] * factors), 1.0)
    return corrected
