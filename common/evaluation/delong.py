"""Confidence interval of the area under the curve, and DeLong's paired test."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy

from common.statistics.base import Float
from common.statistics.placements import DeLongResult, delong_from_sums

SCORE = "score"
PRIOR_PATIENTS = 0.5
"""Misplaced patients that the variance before any data counts as much as."""
# tolerance for a variance of zero after rounding
NO_VARIANCE = 1e-14


@dataclass(frozen=True)
class AucInterval:
    """Confidence interval and its method: "score", or empty where there is none."""

    low: float
    high: float
    method: str


def auc_interval(
    auc: float, variance: float, negatives: float, positives: float, level: float = 0.95
) -> AucInterval:
    """Return the score interval of the AUC with DeLong's variance; never empty, within [0, 1].

    The limits are the areas that lie z standard errors *of their own* from the AUC, as Wilson's of
    a share and Newcombe's of an AUC (2006, Stat Med 25:559-573, method 5). The variance at an area
    is DeLong's, carried along the curve that the variance follows where scores of both classes are
    normal. Near an AUC of 1 DeLong's variance rests on the few patients who are misplaced, and is
    zero without any: so half a misplaced patient is added whose variance is the mean of that curve
    and Newcombe's. Chosen by simulation (bench/intervals.py): it holds the truth as often as it
    says where the interval on the logit (Qin and Hotilovac 2008, Stat Methods Med Res 17:207-221)
    does so too seldom and Newcombe's alone too often, and errs less where scores are not normal.

    Parameters
    ----------
    variance : DeLong's; NaN where it is unknown, which makes the interval unknown.
    negatives, positives : patients of either class.

    Examples
    --------
    >>> interval = auc_interval(0.8, 0.0025, 40, 40)
    >>> round(interval.low, 3), round(interval.high, 3), interval.method
    (0.681, 0.876, 'score')
    >>> auc_interval(1.0, 0.0, 40, 40).high
    1.0
    """
    if not (math.isfinite(auc) and math.isfinite(variance) and min(negatives, positives) >= 1):
        return AucInterval(math.nan, math.nan, "")

    def at(area: float) -> float:
        prior = 0.5 * (
            binormal_variance(area, negatives, positives)
            + newcombe_variance(area, negatives, positives)
        )
        return _carried(auc, variance, negatives, positives, area, prior)

    return AucInterval(*score_limits(auc, at, level), SCORE)


def _carried(
    auc: float, variance: float, negatives: float, positives: float, area: float, prior: float
) -> float:
    """Return the variance at another area, from DeLong's at the AUC and from the prior one."""
    spread = binormal_variance(auc, negatives, positives)
    if variance <= NO_VARIANCE or spread <= 0.0:
        return prior
    misplaced = 2.0 * min(auc, 1.0 - auc) * negatives * positives / (negatives + positives)
    carried = variance / spread * binormal_variance(area, negatives, positives)
    return (misplaced * carried + PRIOR_PATIENTS * prior) / (misplaced + PRIOR_PATIENTS)


def score_limits(
    auc: float, variance_at: Callable[[float], float], level: float
) -> tuple[float, float]:
    """Return the areas that lie z standard errors of their own from the AUC.

    Parameters
    ----------
    variance_at : variance at an area within [0, 1].
    level : coverage.
    """
    z = _normal_quantile(level)

    def excess(area: float) -> float:
        """Return squared distance minus (z standard errors)^2, negative within the interval."""
        return (auc - area) ** 2 - z * z * variance_at(area)

    edge = 1e-12
    low = 0.0 if auc <= edge else float(scipy.optimize.brentq(excess, 0.0, min(auc, 1.0 - edge)))
    high = 1.0 if auc >= 1.0 - edge else float(scipy.optimize.brentq(excess, max(auc, edge), 1.0))
    return low, high


def logit_estimate(
    auc: float, variance: float, negatives: float, positives: float
) -> tuple[float, float]:
    """Return the logit of an AUC and its variance there, DeLong's made steady.

    To DeLong's variance half a misplaced patient is added as in `auc_interval`, whose variance is
    that of normal scores. An AUC without DeLong's variance (it is 0 or 1, or all scores are equal)
    has no usable logit: one patient of each class is added who is ordered by chance.

    >>> value, variance = logit_estimate(0.8, 0.0025, 40, 40)
    >>> round(value, 3), round(variance, 3)
    (1.386, 0.097)
    >>> round(logit_estimate(1.0, 0.0, 10, 10)[0], 2)
    2.35
    """
    if not (math.isfinite(auc) and math.isfinite(variance)):
        return math.nan, math.nan
    area = auc
    if variance <= NO_VARIANCE or not 0.0 < auc < 1.0:
        pairs, by_chance = negatives * positives, negatives + positives + 1.0
        area = (auc * pairs + 0.5 * by_chance) / (pairs + by_chance)
    prior = binormal_variance(area, negatives, positives)
    steady = _carried(auc, variance, negatives, positives, area, prior)
    return math.log(area / (1.0 - area)), steady / (area * (1.0 - area)) ** 2


def binormal_variance(auc: float, negatives: float, positives: float) -> float:
    """Return the variance of an AUC where scores of both classes are normal, equally wide.

    Two patients of one class are both on the right side of one of the other with a chance that is
    a bivariate normal integral of correlation 1/2, given by Owen's T function.

    >>> round(binormal_variance(0.8, 40, 40), 4)
    0.0024
    """
    both = auc - 2.0 * float(scipy.special.owens_t(scipy.special.ndtri(auc), 3.0**-0.5))
    apart = (negatives + positives - 2.0) * (both - auc**2)
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


def newcombe_variance(auc: float, negatives: float, positives: float) -> float:
    """Return the variance of method 5 of Newcombe 2006, Stat Med 25:559-573, at this AUC.

    a (1 - a) (1 + N (1 - a) / (2 - a) + N a / (1 + a)) / (m n), with N = (m + n) / 2 - 1 in place
    of Hanley and McNeil's m - 1 and n - 1.
    """
    inner = (negatives + positives) / 2.0 - 1.0
    spread = 1.0 + inner * (1.0 - auc) / (2.0 - auc) + inner * auc / (1.0 + auc)
    return auc * (1.0 - auc) * spread / (negatives * positives)


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
