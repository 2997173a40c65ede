"""Confidence interval of the area under the curve, and DeLong's paired test."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy

from common.statistics.base import Float
from common.statistics.placements import DeLongResult, delong_from_sums

LOGIT, NEWCOMBE = "logit", "newcombe"
FEWEST_LOGIT = 15
"""Patients of either class below which DeLong's variance is too uncertain for an interval."""
# tolerance for a variance of zero after rounding
NO_VARIANCE = 1e-14


@dataclass(frozen=True)
class AucInterval:
    """Confidence interval and its method: "logit", "newcombe", or empty where there is none."""

    low: float
    high: float
    method: str


def auc_interval(
    auc: float, variance: float, negatives: float, positives: float, level: float = 0.95
) -> AucInterval:
    """Return the interval on the logit of the AUC; Newcombe's with few patients or no variance.

    An AUC near 1 varies far more to one side than to the other: on the logit its distribution is
    near a normal one (Qin and Hotilovac 2008, Stat Methods Med Res 17:207-221), so that the
    interval covers the truth as often as it says, and never leaves [0, 1]. DeLong's variance is
    zero where a model separates the classes completely (an AUC of 0 or 1) or does not distinguish
    patients at all. That says nothing about the uncertainty of the AUC. With fewer than 15 patients
    of a class it is so uncertain itself that the interval holds the truth too seldom (a few among
    many others) or too often (a few of either); Newcombe's does neither (bench/intervals.py).

    Parameters
    ----------
    variance : DeLong's; NaN where it is unknown, which makes the interval unknown.
    negatives, positives : patients of either class.

    Examples
    --------
    >>> interval = auc_interval(0.8, 0.0025, 40, 40)
    >>> round(interval.low, 3), round(interval.high, 3), interval.method
    (0.684, 0.881, 'logit')
    """
    if not (math.isfinite(auc) and math.isfinite(variance)):
        return AucInterval(math.nan, math.nan, "")
    spread = auc * (1.0 - auc)
    few = min(negatives, positives) < FEWEST_LOGIT
    if few or variance <= NO_VARIANCE or spread <= 0.0:
        low, high = newcombe_interval(auc, negatives, positives, level)
        return AucInterval(low, high, NEWCOMBE)
    half = _normal_quantile(level) * math.sqrt(variance) / spread
    centre = float(scipy.special.logit(auc))
    low, high = (float(end) for end in scipy.special.expit([centre - half, centre + half]))
    return AucInterval(low, high, LOGIT)


def logit_estimate(
    auc: float, variance: float, negatives: float, positives: float
) -> tuple[float, float]:
    """Return the logit of an AUC and its variance there.

    An AUC without DeLong's variance (it is 0 or 1, or all scores are equal) has no usable logit:
    one patient of each class is added who is ordered by chance, and the variance is Hanley and
    McNeil's (1982) at the AUC that this gives.

    >>> value, variance = logit_estimate(0.8, 0.0025, 40, 40)
    >>> round(value, 3), round(variance, 3)
    (1.386, 0.098)
    >>> round(logit_estimate(1.0, 0.0, 10, 10)[0], 2)
    2.35
    """
    if not (math.isfinite(auc) and math.isfinite(variance)):
        return math.nan, math.nan
    spread = auc * (1.0 - auc)
    if variance > NO_VARIANCE and spread > 0.0:
        return float(scipy.special.logit(auc)), variance / spread**2
    pairs, by_chance = negatives * positives, negatives + positives + 1.0
    area = (auc * pairs + 0.5 * by_chance) / (pairs + by_chance)
    found = hanley_mcneil(area, negatives, positives) / (area * (1.0 - area)) ** 2
    return math.log(area / (1.0 - area)), found


def hanley_mcneil(auc: float, negatives: float, positives: float) -> float:
    """Return the variance of an AUC between 0 and 1 from itself alone (Hanley and McNeil 1982).

    >>> round(hanley_mcneil(0.8, 40, 40), 4)
    0.0025
    """
    q1, q2 = auc / (2.0 - auc), 2.0 * auc**2 / (1.0 + auc)
    apart = (positives - 1.0) * (q1 - auc**2) + (negatives - 1.0) * (q2 - auc**2)
    return (auc * (1.0 - auc) + apart) / (negatives * positives)


def wald_interval(auc: float, variance: float, level: float = 0.95) -> tuple[float, float]:
    """Return DeLong's own interval, cut to [0, 1], as most papers give it.

    Of few patients, or near an AUC of 1, it holds the truth less often than it says.

    >>> low, high = wald_interval(0.8, 0.0025)
    >>> round(low, 3), round(high, 3)
    (0.702, 0.898)
    """
    if not (math.isfinite(auc) and math.isfinite(variance)):
        return math.nan, math.nan
    half = _normal_quantile(level) * math.sqrt(max(variance, 0.0))
    return max(auc - half, 0.0), min(auc + half, 1.0)


def _normal_quantile(level: float) -> float:
    return float(scipy.stats.norm.ppf(0.5 + level / 2.0))


def newcombe_interval(
    auc: float, negatives: float, positives: float, level: float = 0.95
) -> tuple[float, float]:
    """Return the score interval of an AUC, which is never empty.

    Newcombe 2006, Stat Med 25:559-573, method 5. The limits are the areas a that lie z standard
    errors from the AUC, with Hanley and McNeil's variance at a itself and
    N = (m + n) / 2 - 1 in place of m - 1 and n - 1:
    a (1 - a) (1 + N (1 - a) / (2 - a) + N a / (1 + a)) / (m n).

    >>> low, high = newcombe_interval(1.0, 10, 10)
    >>> 0.7 < low < 0.9, high
    (True, 1.0)
    """
    if not (math.isfinite(auc) and min(negatives, positives) >= 1):
        return math.nan, math.nan
    z = _normal_quantile(level)
    inner = (negatives + positives) / 2.0 - 1.0

    def excess(area: float) -> float:
        """Return squared distance minus (z standard errors)^2, negative within the interval."""
        spread = 1.0 + inner * (1.0 - area) / (2.0 - area) + inner * area / (1.0 + area)
        share = z * z * area * (1.0 - area) * spread / (negatives * positives)
        return (auc - area) ** 2 - share

    edge = 1e-12
    low = 0.0 if auc <= edge else float(scipy.optimize.brentq(excess, 0.0, min(auc, 1.0 - edge)))
    high = 1.0 if auc >= 1.0 - edge else float(scipy.optimize.brentq(excess, max(auc, edge), 1.0))
    return low, high


def paired_test(result: DeLongResult, a: int, b: int) -> tuple[float, float]:
    """Return z and two-sided p of the difference between areas `a` and `b` of the same rows.

    A difference of zero with no variance gives (0, 1), as of a model against itself. Two areas that
    both have no variance, and a difference that has none, give NaN: the test does not exist.

    Examples
    --------
    >>> scores = np.array([[0.1, 0.2], [0.4, 0.9], [0.3, 0.6], [0.8, 0.1], [0.9, 0.7]])
    >>> z, p = paired_test(exact(scores, np.array([0.0, 0.0, 1.0, 1.0, 1.0])), 0, 1)
    >>> round(z, 3), round(p, 3)
    (1.5, 0.134)
    """
    difference = float(result.auc[a] - result.auc[b])
    cov = result.covariance
    variance = float(cov[a, a] + cov[b, b] - cov[a, b] - cov[b, a])
    if not (math.isfinite(difference) and math.isfinite(variance)):
        return math.nan, math.nan
    if max(float(cov[a, a]), float(cov[b, b])) <= NO_VARIANCE:
        return math.nan, math.nan
    # two equal variances minus twice their covariance leave rounding
    if variance <= NO_VARIANCE:
        return (0.0, 1.0) if abs(difference) <= 1e-7 else (math.nan, math.nan)
    z = difference / math.sqrt(variance)
    return z, 2.0 * float(scipy.stats.norm.sf(abs(z)))


def exact(scores: Float, labels: Float) -> DeLongResult:
    """Apply DeLong's method to rows at hand, by mid-ranks (Sun and Xu 2014).

    Parameters
    ----------
    scores : (n, k), finite, one column per model.
    labels : (n,), 1.0 for the positive class.

    Raises
    ------
    ValueError : scores that are not finite.

    Examples
    --------
    >>> exact(np.array([[0.1], [0.6], [0.4], [0.9]]), np.array([0.0, 0.0, 1.0, 1.0])).auc
    array([0.75])
    """
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    positive = labels > 0.5
    m, n = int(positive.sum()), int((~positive).sum())
    v10, v01 = np.zeros((m, scores.shape[1])), np.zeros((n, scores.shape[1]))
    if m and n:
        ranks = scipy.stats.rankdata(scores, axis=0)
        v10 = (ranks[positive] - scipy.stats.rankdata(scores[positive], axis=0)) / n
        v01 = 1.0 - (ranks[~positive] - scipy.stats.rankdata(scores[~positive], axis=0)) / m
    return delong_from_sums(
        negatives=float(n),
        positives=float(m),
        v10=v10.sum(axis=0),
        v01=v01.sum(axis=0),
        v10_products=v10.T @ v10,
        v01_products=v01.T @ v01,
    )
