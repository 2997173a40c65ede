"""Area under the precision-recall curve, with its interval."""

from __future__ import annotations

import math

import numpy as np
import scipy

from common.evaluation.calibration_fit import Points
from common.statistics.base import Float

MOST_ORDERS = 1_000_000


def average_precision(points: Points) -> float:
    """Return the mean precision at the score of each positive; NaN without both classes.

    That of scikit-learn where no scores are equal. Patients of equal scores, or of one cell, count
    as they do on average over all orders of them.

    Examples
    --------
    >>> scores, label = np.array([0.1, 0.6, 0.4, 0.9]), np.array([0.0, 0.0, 1.0, 1.0])
    >>> round(average_precision(Points.of_rows(scores, label)), 4)
    0.8333
    """
    negatives, positives = points.counts
    if min(negatives, positives) < 0.5:
        return math.nan
    distinct, place = np.unique(points.x, return_inverse=True)
    held = [
        np.bincount(place, weights=own, minlength=distinct.size)[::-1]
        for own in (points.negatives, points.positives)
    ]
    true = false = total = 0.0
    for n, p in zip(*(np.rint(one).astype(int).tolist() for one in held), strict=True):
        if p:
            total += _within(true, false, n, p)
        true, false = true + p, false + n
    return total / positives


def _within(true: float, false: float, n: int, p: int) -> float:
    """Return the precisions of p positives among n negatives in any order, added up.

    Parameters
    ----------
    true, false : positives and negatives with higher scores.
    """
    rank = np.arange(1.0, p + 1)[:, None]
    if n * p > MOST_ORDERS:
        return float(((true + rank) / (true + rank + false + n * rank / (p + 1))).sum())
    # the number of negatives before a positive is negative hypergeometric
    before = np.arange(n + 1.0)[None, :]
    ways = _choices(before + rank - 1, before) + _choices(n + p - before - rank, n - before)
    chance = np.exp(ways - _choices(np.array(float(n + p)), np.array(float(n))))
    return float((chance * (true + rank) / (true + rank + false + before)).sum())


def _choices(of: Float, some: Float) -> Float:
    """Return the logarithm of binomial coefficients."""
    whole, part, rest = (scipy.special.gammaln(one + 1.0) for one in (of, some, of - some))
    return np.asarray(whole - part - rest)


def precision_interval(value: float, positives: int, level: float = 0.95) -> tuple[float, float]:
    """Return the interval on the logit with a binomial variance.

    Boyd, Eng and Page 2013 (ECML PKDD, LNCS 8190:451-466), who found that it covers the truth as
    often as it says. At a value of 1, which has no logit, half a patient is taken away.

    >>> low, high = precision_interval(0.8, 40)
    >>> round(low, 3), round(high, 3)
    (0.648, 0.897)
    """
    if not (math.isfinite(value) and positives >= 1):
        return math.nan, math.nan
    half = 0.5 / (positives + 1)
    inner = min(max(value, half), 1.0 - half)
    reach = float(scipy.stats.norm.ppf(0.5 + level / 2.0))
    reach /= math.sqrt(positives * inner * (1.0 - inner))
    centre = math.log(inner / (1.0 - inner))
    low, high = (float(end) for end in scipy.special.expit([centre - reach, centre + reach]))
    return min(low, value), 1.0 if value >= 1.0 - half else max(high, value)
