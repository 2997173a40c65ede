"""Measures of a test at a cut-off, from four counts, each with its 95 % interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import scipy


@dataclass(frozen=True)
class Estimate:
    """Value with the ends of its interval; NaN where it does not exist."""

    value: float
    low: float
    high: float


UNKNOWN = Estimate(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class AtCutoff:
    """Measures of a test whose result is positive or negative.

    Parameters
    ----------
    accuracy, sensitivity, specificity, ppv, npv : shares of patients, with Wilson's interval.
    lr_positive, lr_negative : likelihood ratios of a positive and of a negative result.
    """

    accuracy: Estimate
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    lr_positive: Estimate
    lr_negative: Estimate


def at_cutoff(tp: int, tn: int, positives: int, negatives: int) -> AtCutoff:
    """Return all measures of a test.

    Predictive values are those among these patients: elsewhere they change with the share of
    patients who have the endpoint.

    Parameters
    ----------
    tp, tn : positives and negatives judged correctly.
    positives, negatives : all of either class.

    Raises
    ------
    ValueError : more patients judged correctly than there are.

    Examples
    --------
    >>> found = at_cutoff(tp=18, tn=40, positives=20, negatives=50)
    >>> round(found.ppv.value, 3), round(found.lr_positive.value, 1)
    (0.643, 4.5)
    """
    if not (0 <= tp <= positives and 0 <= tn <= negatives):
        raise ValueError("more patients judged correctly than there are")
    fp, fn = negatives - tn, positives - tp
    return AtCutoff(
        accuracy=proportion(tp + tn, positives + negatives),
        sensitivity=proportion(tp, positives),
        specificity=proportion(tn, negatives),
        ppv=proportion(tp, tp + fp),
        npv=proportion(tn, tn + fn),
        lr_positive=ratio(tp, positives, fp, negatives),
        lr_negative=ratio(fn, positives, tn, negatives),
    )


def proportion(part: int, whole: int, level: float = 0.95) -> Estimate:
    """Return a share with Wilson's score interval (1927), which never leaves [0, 1].

    >>> found = proportion(9, 10)
    >>> round(found.low, 3), round(found.high, 3)
    (0.596, 0.982)
    """
    if whole < 1:
        return UNKNOWN
    found = scipy.stats.binomtest(part, whole).proportion_ci(level, method="wilson")
    return Estimate(part / whole, float(found.low), float(found.high))


def ratio(first: int, of_first: int, second: int, of_second: int, level: float = 0.95) -> Estimate:
    """Return the ratio of two shares of independent groups, with its interval on the logarithm.

    Simel, Samsa and Matchar 1991, J Clin Epidemiol 44:763-770. Where a count is zero, a half is
    added to both counts and one to both sizes for the interval alone, and an infinite ratio has no
    upper end.

    >>> found = ratio(9, 10, 3, 20)
    >>> round(found.value, 2), round(found.low, 2), round(found.high, 2)
    (6.0, 2.07, 17.38)
    """
    if of_first < 1 or of_second < 1 or (first == 0 and second == 0):
        return UNKNOWN
    value = math.inf if second == 0 else (first / of_first) / (second / of_second)
    a, n, b, m = float(first), float(of_first), float(second), float(of_second)
    if first == 0 or second == 0:
        a, n, b, m = a + 0.5, n + 1.0, b + 0.5, m + 1.0
    error = math.sqrt(1.0 / a - 1.0 / n + 1.0 / b - 1.0 / m)
    half = float(scipy.stats.norm.ppf(0.5 + level / 2.0)) * error
    centre = math.log((a / n) / (b / m))
    low = 0.0 if first == 0 else math.exp(centre - half)
    high = math.inf if second == 0 else math.exp(centre + half)
    return Estimate(value, low, high)
