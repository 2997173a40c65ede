"""Area under the precision-recall curve, with its interval."""

from __future__ import annotations

import math

import numpy as np
import scipy

from common.evaluation.calibration_fit import Points
from common.evaluation.delong import PRIOR_PATIENTS, score_limits
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
    n, p = _falling(points)
    return float(_precisions(n, p).sum() / positives)


def precision_error(points: Points) -> float:
    """Return the standard error of the average precision; NaN without two patients of each class.

    The infinitesimal jackknife within classes: how the average precision changes with the weight
    of each patient, squared and added up. Of equal scores it takes the middle of all orders.

    >>> scores, label = np.array([0.1, 0.6, 0.4, 0.9]), np.array([0.0, 0.0, 1.0, 1.0])
    >>> round(precision_error(Points.of_rows(scores, label)), 4)
    0.2003
    """
    negatives, positives = points.counts
    if min(negatives, positives) < 1.5:
        return math.nan
    n, p = _falling(points)
    some = np.maximum(p, 1.0)
    precision = _precisions(n, p) / some
    true, false = np.cumsum(p) - p + 0.5 * (p + 1.0), np.cumsum(n) - 0.5 * n
    # derivatives of precisions by true and by false positives, added up
    by_true, by_false = (p * part / (true + false) ** 2 for part in (false, true))
    own = by_true * 0.5 * (p + 1.0) / some
    of_positive = precision + _after(by_true) + own - (p * precision).sum() / positives
    of_negative = _after(by_false) + 0.5 * by_false
    spreads = (_spread(of_positive, p), _spread(of_negative, n))
    return math.sqrt(sum(spreads)) / float(positives)


def _spread(influence: Float, count: Float) -> float:
    """Return the sum of squared distances from the mean, as of a sample."""
    total = float(count.sum())
    apart = influence - (count * influence).sum() / total
    return float((count * apart**2).sum()) * total / (total - 1.0)


def _after(values: Float) -> Float:
    """Return the sum of all values behind each."""
    return np.asarray(values.sum() - np.cumsum(values))


def _falling(points: Points) -> tuple[Float, Float]:
    """Return negatives and positives at each distinct score, the highest first."""
    distinct, place = np.unique(points.x, return_inverse=True)
    n, p = (
        np.rint(np.bincount(place, weights=own, minlength=distinct.size)[::-1])
        for own in (points.negatives, points.positives)
    )
    return n, p


def _precisions(n: Float, p: Float) -> Float:
    """Return the sum of the precisions of the positives at each score."""
    true, false = np.cumsum(p) - p, np.cumsum(n) - n
    found = np.zeros(n.size)
    for i in np.flatnonzero(p):
        found[i] = _within(true[i], false[i], int(n[i]), int(p[i]))
    return found


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


def precision_interval(
    value: float, error: float, positives: int, level: float = 0.95
) -> tuple[float, float]:
    """Return the score interval of an average precision, within [0, 1].

    Its limits lie z standard errors of their own from the value, as those of `auc_interval`: the
    variance there is the jackknife's, carried along (a (1 - a))^1.5, and half a misplaced patient
    is added with half the binomial variance, as without any the jackknife finds none. Chosen by
    simulation (bench/site_intervals.py). The binomial variance alone (Boyd, Eng and Page 2013,
    ECML PKDD, LNCS 8190:451-466) gives intervals that are too wide.

    Parameters
    ----------
    error : from `precision_error`; NaN where it is unknown, which makes the interval unknown.

    Examples
    --------
    >>> low, high = precision_interval(0.8, 0.06, 40)
    >>> round(low, 3), round(high, 3)
    (0.648, 0.884)
    """
    if not (math.isfinite(value) and math.isfinite(error) and positives >= 1):
        return math.nan, math.nan
    misplaced = 2.0 * positives * min(value, 1.0 - value)
    shape = (value * (1.0 - value)) ** 1.5

    def at(area: float) -> float:
        spread = area * (1.0 - area)
        carried = error**2 / shape * spread**1.5 if shape > 0.0 else 0.0
        prior = 0.5 * PRIOR_PATIENTS * spread / positives
        return (misplaced * carried + prior) / (misplaced + PRIOR_PATIENTS)

    return score_limits(value, at, level)
