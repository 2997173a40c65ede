"""Calibration by bins, and as a curve.

The curve is a restricted cubic spline of the logit, with a pointwise band.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import scipy

from common.evaluation.calibration_fit import Points
from common.evaluation.suppression import suppress
from common.messages.limits import shares
from common.messages.plain import plain
from common.statistics.base import Float
from common.statistics.calibration import logit
from common.statistics.scores import BINS, BinnedCalibrationResult
from common.utils.portable import Z_95

GRID, DECIMALS = 41, 4
KNOTS: dict[int, tuple[float, ...]] = {
    100: (0.05, 0.275, 0.5, 0.725, 0.95),
    30: (0.05, 0.35, 0.65, 0.95),
    20: (0.1, 0.5, 0.9),
}
"""Quantiles at which the knots lie (Harrell 2015, Regression Modeling Strategies, table 2.3), by
the fewest patients of either outcome: ten or more for each coefficient but the intercept."""
_STEPS, _CLOSE = 50, 1e-9


@plain
class CalibrationCurve:
    """Observed risk at predicted ones, (k, points) each; NaN where a model has no curve."""

    predicted: Annotated[Float, shares("models", GRID, decimals=DECIMALS, unknown=True)]
    observed: Annotated[Float, shares("models", GRID, decimals=DECIMALS, unknown=True)]
    low: Annotated[Float, shares("models", GRID, decimals=DECIMALS, unknown=True)]
    high: Annotated[Float, shares("models", GRID, decimals=DECIMALS, unknown=True)]


def calibration_curve(models: Sequence[Points]) -> CalibrationCurve:
    """Fit the curve of each model, from its outer knot to the other.

    A model has none with fewer than 20 patients of an outcome, with too few different scores for
    three knots, or where the likelihood has no maximum.

    Examples
    --------
    >>> from common.statistics.calibration import expit
    >>> x = np.linspace(-2.0, 2.0, 41)
    >>> p = expit(1.0 + x)
    >>> found = calibration_curve([Points(x, 9.0 * (1.0 - p), 9.0 * p, x, x)])
    >>> bool(np.allclose(found.observed[0], expit(1.0 + logit(found.predicted[0])), atol=1e-3))
    True
    """
    found = np.array([_one(points) for points in models]).reshape(len(models), 4, GRID)
    return CalibrationCurve(*(found[:, part] for part in range(4)))


def _one(points: Points) -> Float:
    """Return predicted and observed risk and the band's ends (4, points)."""
    unknown = np.full((4, GRID), np.nan)
    knots = _knots(points)
    if knots is None:
        return unknown
    fitted = _fitted(spline(points.x, knots), points)
    if fitted is None:
        return unknown
    coefficients, covariance = fitted
    ends = scipy.special.expit(knots[[0, -1]])
    predicted = np.linspace(ends[0], ends[1], GRID)
    design = spline(logit(predicted), knots)
    centre = design @ coefficients
    half = Z_95 * np.sqrt(np.einsum("ij,jk,ik->i", design, covariance, design))
    lines = scipy.special.expit([centre, centre - half, centre + half])
    return np.round(np.vstack([predicted, lines]), DECIMALS)


def spline(x: Float, knots: Float) -> Float:
    """Return the basis (n, knots) of a restricted cubic spline: 1, x and the curved parts.

    Harrell 2015, equation 2.25, divided by the square of the distance of the outer knots: linear
    beyond them, and with two continuous derivatives.

    >>> spline(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0])).round(3).tolist()
    [[1.0, 0.0, 0.0], [1.0, 1.0, 0.25], [1.0, 2.0, 1.5]]
    """
    last, before = knots[-1], knots[-2]
    scale = (last - knots[0]) ** 2

    def cubed(knot: float) -> Float:
        return np.asarray(np.clip(x - knot, 0.0, None) ** 3)

    curved = [
        (
            cubed(knot)
            - cubed(before) * (last - knot) / (last - before)
            + cubed(last) * (before - knot) / (last - before)
        )
        / scale
        for knot in knots[:-2].tolist()
    ]
    return np.column_stack([np.ones_like(x), x, *curved])


def _knots(points: Points) -> Float | None:
    """Return knots at quantiles of the logits; fewer where they coincide, None without three."""
    rarer = min(points.counts)
    if rarer < min(KNOTS):
        return None
    order = np.argsort(points.x, kind="stable")
    x, count = points.x[order], (points.negatives + points.positives)[order]
    middle = (np.cumsum(count) - 0.5 * count) / count.sum()
    for fewest, quantiles in KNOTS.items():
        knots = np.interp(quantiles, middle, x)
        if rarer >= fewest and np.unique(x).size > knots.size and np.diff(knots).min() > 1e-6:
            return knots
    return None


def _fitted(design: Float, points: Points) -> tuple[Float, Float] | None:
    """Return coefficients and covariance by Newton's method; None where it finds no maximum."""
    count = points.negatives + points.positives
    beta = np.zeros(design.shape[1])
    beta[1] = 1.0
    loss = _loss(design, points, beta)
    for _ in range(_STEPS):
        fitted = scipy.special.expit(design @ beta)
        information = design.T @ ((count * fitted * (1.0 - fitted))[:, None] * design)
        if not np.linalg.cond(information) < 1e12:
            return None
        step = np.linalg.solve(information, design.T @ (points.positives - count * fitted))
        if np.abs(step).max() <= _CLOSE * (1.0 + np.abs(beta).max()):
            return beta, np.linalg.inv(information)
        share = 1.0
        while _loss(design, points, beta + share * step) > loss + 1e-9 and share > 0.01:
            share *= 0.5
        beta = beta + share * step
        loss = _loss(design, points, beta)
    return None


def _loss(design: Float, points: Points, beta: Float) -> float:
    z = design @ beta
    soft = np.logaddexp(0.0, z)
    return float((points.negatives + points.positives) @ soft - points.positives @ z)


@plain
class CalibrationTable:
    """Calibration of one model: bin edges (11,), and rows, mean probability and rate of 10 bins.

    Empty bins have NaN means.
    """

    edges: Float
    count: Float
    probability: Float
    observed: Float


def calibration_table(result: BinnedCalibrationResult, column: int) -> CalibrationTable:
    """Return the table of the model in `column`.

    Examples
    --------
    >>> from common.statistics.base import Rows
    >>> from common.statistics.scores import BinnedCalibration
    >>> label = np.array([0.0, 1.0])
    >>> rows = Rows(np.array([[0.2], [0.6]]), ("model",), label, np.zeros(2, int))
    >>> sums = BinnedCalibration()
    >>> table = calibration_table(sums.finalise(sums.from_rows(rows)), 0)
    >>> table.count[[2, 6]].tolist(), table.observed[[2, 6]].tolist()
    ([1.0, 1.0], [0.0, 1.0])
    """
    count = result.count[column]
    probability, positives = result.probability[column], result.positives[column]
    filled = count > 0
    empty = np.full(BINS, np.nan)
    return CalibrationTable(
        edges=np.arange(BINS + 1) / BINS,
        count=count,
        probability=np.divide(probability, count, out=empty.copy(), where=filled),
        observed=np.divide(positives, count, out=empty.copy(), where=filled),
    )


def without_small_bins(result: BinnedCalibrationResult, minimum: int) -> BinnedCalibrationResult:
    """Replace bins of few rows by NaN, and a second bin where these follow from the total.

    A bin of one row shows that row's probability and outcome.
    """
    hidden = np.array([suppress(np.append(own, 0.0), minimum)[:-1] for own in result.count])
    hidden = hidden.reshape(result.count.shape)
    return BinnedCalibrationResult(
        count=np.where(hidden, np.nan, result.count),
        probability=np.where(hidden, np.nan, result.probability),
        positives=np.where(hidden, np.nan, result.positives),
    )
