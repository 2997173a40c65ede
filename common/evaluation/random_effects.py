"""Summary of estimates that differ between hospitals by more than chance (random effects)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import scipy

from common.statistics.base import Float

FEWEST, FEWEST_PREDICTED = 3, 4
"""Estimates below which there is no summary, and no prediction interval."""
_CLOSE = 1e-10


@dataclass(frozen=True)
class RandomEffects:
    """Mean over hospitals, and how much they differ.

    Parameters
    ----------
    mean, low, high : of the mean over hospitals like these, with Hartung and Knapp's 95 % interval.
    tau : standard deviation of the true values between hospitals.
    i2 : share of the variation that is not chance, in [0, 1).
    predicted_low, predicted_high : 95 % prediction interval of the true value at a new hospital;
        NaN of three hospitals, from which it would exclude next to nothing.
    """

    mean: float
    low: float
    high: float
    tau: float
    i2: float
    predicted_low: float
    predicted_high: float


def random_effects(values: Float, variances: Float, level: float = 0.95) -> RandomEffects:
    """Summarise estimates of several hospitals.

    The variance between hospitals is Paule and Mandel's. The interval of the mean is Hartung and
    Knapp's (2001, Stat Med 20:3875-3889) on k - 1 degrees of freedom, which keeps its level with
    few hospitals, and is never narrower than that of chance alone. The prediction interval is
    that of Higgins et al. (2009, J R Stat Soc A 172:137-159) on k - 2.

    Parameters
    ----------
    values : (k,), one estimate a hospital, on a scale where it is about normal (logit of an AUC).
    variances : (k,), of each by chance, above 0.

    Raises
    ------
    ValueError : fewer than three estimates, or a variance that is not above 0.

    Examples
    --------
    >>> import numpy as np
    >>> found = random_effects(np.array([0.2, 1.1, 0.7, 0.4]), np.array([0.04, 0.05, 0.06, 0.05]))
    >>> round(found.mean, 2), round(found.tau, 2), round(found.i2, 2)
    (0.59, 0.33, 0.68)
    """
    count = values.size
    if count < FEWEST or variances.shape != values.shape or not (variances > 0).all():
        raise ValueError(f"a summary is of {FEWEST} estimates or more, each with its variance")
    between = _between(values, variances)
    weights = 1.0 / (variances + between)
    mean = float(weights @ values / weights.sum())
    spread = float(weights @ (values - mean) ** 2 / (count - 1))
    error = math.sqrt(max(spread, 1.0) / weights.sum())
    half = _quantile(level, count - 1) * error
    reach = math.nan
    if count >= FEWEST_PREDICTED:
        reach = _quantile(level, count - 2) * math.sqrt(between + error**2)
    fixed = 1.0 / variances
    typical = (count - 1) * fixed.sum() / (fixed.sum() ** 2 - (fixed**2).sum())
    return RandomEffects(
        mean=mean,
        low=mean - half,
        high=mean + half,
        tau=math.sqrt(between),
        i2=float(between / (between + typical)),
        predicted_low=mean - reach,
        predicted_high=mean + reach,
    )


def _between(values: Float, variances: Float) -> float:
    """Return Paule and Mandel's variance between hospitals (1982, J Res NBS 87:377-385).

    With it the weighted squares add up to what chance makes of them, k - 1; there is one such
    variance or none, and then it is 0.
    """

    def excess(between: float) -> float:
        weights = 1.0 / (variances + between)
        mean = weights @ values / weights.sum()
        return float(weights @ (values - mean) ** 2) - (values.size - 1)

    if excess(0.0) <= 0.0:
        return 0.0
    high = float(values.var(ddof=1))
    while excess(high) > 0.0:
        high *= 2.0
    return float(scipy.optimize.brentq(excess, 0.0, high, xtol=_CLOSE))


def _quantile(level: float, freedom: int) -> float:
    return float(scipy.stats.t.ppf(0.5 + level / 2.0, freedom))
