"""Area under the curve: DeLong's interval and paired test."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from common.statistics.base import Float
from common.statistics.placements import DeLongResult, delong_from_sums


def auc_interval(auc: float, variance: float, level: float = 0.95) -> tuple[float, float]:
    """Normal confidence interval, cut to [0, 1]; NaN where the variance is unknown."""
    if not (math.isfinite(auc) and math.isfinite(variance)):
        return math.nan, math.nan
    half = float(stats.norm.ppf(0.5 + level / 2.0)) * math.sqrt(max(variance, 0.0))
    return max(auc - half, 0.0), min(auc + half, 1.0)


def paired_test(result: DeLongResult, a: int, b: int) -> tuple[float, float]:
    """Z and two-sided p of the difference between areas `a` and `b` of the same rows.

    A difference of zero with no variance gives (0, 1). A difference that has no variance (perfect
    against perfectly wrong) or areas without variance give NaN: the test does not exist.
    """
    difference = float(result.auc[a] - result.auc[b])
    cov = result.covariance
    variance = float(cov[a, a] + cov[b, b] - cov[a, b] - cov[b, a])
    if not (math.isfinite(difference) and math.isfinite(variance)):
        return math.nan, math.nan
    # what is left of two equal variances minus twice their covariance is rounding
    if variance <= 1e-14:
        return (0.0, 1.0) if abs(difference) <= 1e-7 else (math.nan, math.nan)
    z = difference / math.sqrt(variance)
    return z, 2.0 * float(stats.norm.sf(abs(z)))


def exact(scores: Float, labels: Float) -> DeLongResult:
    """DeLong on rows at hand by mid-ranks (Sun and Xu 2014).

    Parameters
    ----------
    scores : (n, k), finite, one column a model.
    labels : (n,), 1.0 for the positive class.

    Raises
    ------
    ValueError : scores that are not finite.
    """
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    positive = labels > 0.5
    m, n = int(positive.sum()), int((~positive).sum())
    v10, v01 = np.zeros((m, scores.shape[1])), np.zeros((n, scores.shape[1]))
    if m and n:
        ranks = stats.rankdata(scores, axis=0)
        v10 = (ranks[positive] - stats.rankdata(scores[positive], axis=0)) / n
        v01 = 1.0 - (ranks[~positive] - stats.rankdata(scores[~positive], axis=0)) / m
    return delong_from_sums(
        negatives=float(n),
        positives=float(m),
        v10=v10.sum(axis=0),
        v01=v01.sum(axis=0),
        v10_products=v10.T @ v10,
        v01_products=v01.T @ v01,
    )
