"""Calibration slope, intercept and observed to expected ratio, from rows, cells or sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from common.evaluation.joined_scores import group_scores
from common.messages.limits import Limits, Patients
from common.messages.plain import plain
from common.statistics.base import Float, Rows
from common.statistics.calibration import CalibrationSums, CalibrationTotals, expit, logit
from common.statistics.class_histogram import ClassHistogramResult
from common.utils import portable

STEPS, HALVINGS, CLOSE = 60, 8, 1e-11
FLATTEST = 1e-10
"""Information of the slope, as a share of its largest, below which there is none."""
FEWEST_GROUPED = 15
"""Patients of either outcome below which groups of one hospital's patients give no slope."""


@dataclass(frozen=True)
class Points:
    """Scores of one model, as rows or as cells of a histogram.

    Parameters
    ----------
    x : (m,), logits, of a cell that of its middle.
    negatives, positives : (m,), patients at each.
    lower, upper : (m,), ends of the cell; of a row its logit.
    """

    x: Float
    negatives: Float
    positives: Float
    lower: Float
    upper: Float

    @staticmethod
    def of_rows(scores: Float, label: Float) -> Points:
        """Return a point for each row (n,)."""
        positive, x = (label > 0.5).astype(np.float64), logit(scores)
        return Points(x, 1.0 - positive, positive, x, x)

    @staticmethod
    def of_cells(histogram: ClassHistogramResult, column: int) -> Points:
        """Return a point for each cell with patients."""
        counts = histogram.counts[column]
        held = counts.sum(axis=0) > 0.5
        edges = np.clip(histogram.edges[column], 0.0, 1.0)
        # the middle of the logits of a wide end cell would be far from all its patients
        middle = logit(0.5 * (edges[:-1] + edges[1:]))[held]
        lower, upper = logit(edges[:-1])[held], logit(edges[1:])[held]
        return Points(middle, counts[0, held], counts[1, held], lower, upper)

    @property
    def counts(self) -> tuple[float, float]:
        """Negatives and positives."""
        return float(self.negatives.sum()), float(self.positives.sum())


@dataclass(frozen=True)
class Line:
    """Logistic regression on one score.

    Parameters
    ----------
    intercept, slope : NaN where the regression has no finite solution.
    information : (3,), of intercept and slope, packed.
    """

    intercept: float
    slope: float
    information: Float

    @property
    def errors(self) -> tuple[float, float]:
        """Standard errors of intercept and slope."""
        aa, ab, bb = self.information.tolist()
        determinant = aa * bb - ab * ab
        if not determinant > 0.0:
            return math.nan, math.nan
        return math.sqrt(bb / determinant), math.sqrt(aa / determinant)


UNFITTED = Line(math.nan, math.nan, np.full(3, np.nan))


@plain
class CalibrationFit:
    """Calibration of k models on one set, part or level; NaN where a figure does not exist.

    Parameters
    ----------
    n, positives : patients, and those with the endpoint.
    expected : (k,), summed probability.
    large : (k,), intercept of the regression whose slope is 1, with its standard error.
    intercept, slope : (k,), of the regression of the outcome on the logit, with standard errors.
    """

    n: Patients
    positives: Patients
    expected: Annotated[Float, Limits(("models",), unknown=True)]
    large: Annotated[Float, Limits(("models",), unknown=True)]
    large_error: Annotated[Float, Limits(("models",), low=0, unknown=True)]
    intercept: Annotated[Float, Limits(("models",), unknown=True)]
    intercept_error: Annotated[Float, Limits(("models",), low=0, unknown=True)]
    slope: Annotated[Float, Limits(("models",), unknown=True)]
    slope_error: Annotated[Float, Limits(("models",), low=0, unknown=True)]


def fit_unknown(k: int) -> CalibrationFit:
    """Return the fit of k models of which nothing may be known."""
    nothing = np.full(k, np.nan)
    return CalibrationFit(0, 0, *(nothing.copy() for _ in range(7)))


def fit_rows(rows: Rows) -> CalibrationFit:
    """Fit rows of probabilities (n, k) at hand.

    Examples
    --------
    >>> p = np.array([[0.2], [0.3], [0.6], [0.7], [0.4], [0.8]])
    >>> label = np.array([0.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    >>> found = fit_rows(Rows(p, ("model",), label, np.zeros(6, int)))
    >>> found.expected.round(2), found.slope.round(2), found.slope_error.round(2)
    (array([3.]), array([1.14]), array([1.05]))
    """
    points = [Points.of_rows(own, rows.label) for own in rows.values.T]
    positives = int((rows.label > 0.5).sum())
    lines, large = [fit_line(one) for one in points], [fit_large(one) for one in points]
    return _told(rows.n, positives, rows.values.sum(axis=0), lines, large)


def without_slopes(fit: CalibrationFit) -> CalibrationFit:
    """Withhold the regressions on the logit, which groups of few patients distort."""
    nothing = np.full(fit.slope.shape, np.nan)
    return CalibrationFit(
        fit.n, fit.positives, fit.expected, fit.large, fit.large_error, *[nothing] * 4
    )


def fit_grouped(rows: Rows, edges: Float, minimum: int) -> CalibrationFit:
    """Fit one hospital's rows in groups, without slopes of fewer than `FEWEST_GROUPED` of a class.

    Figures have three decimals, expected numbers two.

    Parameters
    ----------
    edges, minimum : see `group_scores`; a minimum up to 1 fits the rows as they are.
    """
    if minimum <= 1:
        return fit_rows(rows)
    found = fit_rows(group_scores(rows, edges, minimum))
    few = min(found.positives, found.n - found.positives) < FEWEST_GROUPED
    kept = rounded_fit(without_slopes(found) if few else found)
    return replace(kept, expected=np.round(kept.expected, 2))


def rounded_fit(found: CalibrationFit) -> CalibrationFit:
    """Round figures that the outcomes are in: all their digits are equations in the outcomes."""
    n, positives, expected, *others = vars(found).values()
    return CalibrationFit(n, positives, expected, *(np.round(own, 3) for own in others))


def calibration_question(histogram: ClassHistogramResult) -> CalibrationSums:
    """Return the question for the sums that correct the fit to the cells of a histogram.

    Coordinator and hospitals derive it from the same histogram, in portable arithmetic.
    """
    columns = range(histogram.counts.shape[0])
    lines = [fit_line(Points.of_cells(histogram, i)) for i in columns]
    large = [fit_large(Points.of_cells(histogram, i))[0] for i in columns]
    return CalibrationSums(
        intercept=np.array([one.intercept if _known(one) else 0.0 for one in lines]),
        slope=np.array([one.slope if _known(one) else 1.0 for one in lines]),
        large=np.nan_to_num(np.array(large)),
    )


def fit_sums(
    histogram: ClassHistogramResult, asked: CalibrationSums, totals: CalibrationTotals
) -> CalibrationFit:
    """Fit all patients of a set, from cells and from exact sums at the solution of the cells.

    The exact score and information at that point, less those of the cells, correct the likelihood
    of the cells; its maximum differs from that of the rows by the product of two small errors.

    Parameters
    ----------
    asked : the question, from `calibration_question` of this histogram. totals : its answer.
    """
    lines, large = [], []
    for i in range(totals.expected.size):
        points = Points.of_cells(histogram, i)
        start = np.array([asked.intercept[i], asked.slope[i]])
        _, score, information = _derivatives(points, start)
        apart = totals.score[i] - score, totals.information[i] - information
        lines.append(_corrected(points, start, *apart) if _known(fit_line(points)) else UNFITTED)
        score_1, weight_1 = _large_derivatives(points, float(asked.large[i]))
        rest = float(totals.large[i, 0]) - score_1, float(totals.large[i, 1]) - weight_1
        large.append(fit_large(points, float(asked.large[i]), *rest))
    return _told(totals.n, totals.positives, totals.expected, lines, large)


def fit_line(points: Points) -> Line:
    """Fit intercept and slope by Newton's method with halved steps; the same bits everywhere.

    Examples
    --------
    >>> from common.statistics.calibration import expit
    >>> x = np.linspace(-2.0, 2.0, 9)
    >>> p = expit(0.5 + 2.0 * x)
    >>> found = fit_line(Points(x, 10.0 * (1.0 - p), 10.0 * p, x, x))
    >>> round(found.intercept, 6), round(found.slope, 6)
    (0.5, 2.0)
    """
    if min(points.counts) < 0.5:
        return UNFITTED
    theta = np.array([0.0, 1.0])
    loss, score, information = _derivatives(points, theta)
    for _ in range(STEPS):
        step = _solved(information, score)
        if step is None:
            return UNFITTED
        if float(np.abs(step).max()) <= CLOSE * (1.0 + float(np.abs(theta).max())):
            return Line(float(theta[0]), float(theta[1]), information)
        share = 1.0
        for _ in range(HALVINGS):
            trial = theta + share * step
            tried = _derivatives(points, trial)
            if tried[0] <= loss + 1e-12 * (1.0 + abs(loss)):
                break
            share *= 0.5
        theta, (loss, score, information) = trial, tried
    return UNFITTED


def fit_large(
    points: Points, start: float = 0.0, score_apart: float = 0.0, weight_apart: float = 0.0
) -> tuple[float, float]:
    """Fit the intercept where the slope is 1; return it and its standard error.

    Parameters
    ----------
    score_apart, weight_apart : corrections of score and information at `start`.
    """
    if min(points.counts) < 0.5:
        return math.nan, math.nan
    intercept = start
    for _ in range(STEPS):
        score, weight = _large_derivatives(points, intercept)
        weight += weight_apart
        score += score_apart - weight_apart * (intercept - start)
        if not weight > 0.0:
            break
        step = max(min(score / weight, 2.0), -2.0)
        intercept += step
        if abs(step) <= CLOSE * (1.0 + abs(intercept)):
            return intercept, 1.0 / math.sqrt(weight)
    return math.nan, math.nan


def _told(
    n: int,
    positives: int,
    expected: Float,
    lines: Sequence[Line],
    large: Sequence[tuple[float, float]],
) -> CalibrationFit:
    errors = [line.errors for line in lines]
    return CalibrationFit(
        n=n,
        positives=positives,
        expected=expected,
        large=np.array([value for value, _ in large]),
        large_error=np.array([error for _, error in large]),
        intercept=np.array([line.intercept for line in lines]),
        intercept_error=np.array([first for first, _ in errors]),
        slope=np.array([line.slope for line in lines]),
        slope_error=np.array([second for _, second in errors]),
    )


def _known(line: Line) -> bool:
    return math.isfinite(line.slope)


def _corrected(points: Points, start: Float, score_apart: Float, apart: Float) -> Line:
    """Maximise the likelihood of the cells with what the exact sums add to its derivatives."""
    theta = start
    aa, ab, bb = apart.tolist()
    for _ in range(STEPS):
        _, score, information = _derivatives(points, theta)
        away = theta - start
        drift = np.array([aa * away[0] + ab * away[1], ab * away[0] + bb * away[1]])
        step = _solved(information + apart, score + score_apart - drift)
        if step is None:
            return UNFITTED
        theta = theta + step
        if float(np.abs(step).max()) <= CLOSE * (1.0 + float(np.abs(theta).max())):
            return Line(float(theta[0]), float(theta[1]), information + apart)
    return UNFITTED


def _derivatives(points: Points, theta: Float) -> tuple[float, Float, Float]:
    """Return the loss, and score (2,) and information (3,) of the log-likelihood."""
    x, n = points.x, points.negatives + points.positives
    z = theta[0] + theta[1] * x
    fitted = expit(z)
    rest, weight = points.positives - n * fitted, n * fitted * (1.0 - fitted)
    soft = np.maximum(z, 0.0) + portable.log(1.0 + portable.exp(-np.abs(z)))
    loss = portable.dot(n, soft) - portable.dot(points.positives, z)
    score = np.array([float(np.add.reduce(rest)), portable.dot(x, rest)])
    weighted = x * weight
    information = [float(np.add.reduce(weight)), float(np.add.reduce(weighted))]
    return loss, score, np.array([*information, portable.dot(x, weighted)])


def _large_derivatives(points: Points, intercept: float) -> tuple[float, float]:
    n = points.negatives + points.positives
    fitted = expit(intercept + points.x)
    score = float(np.add.reduce(points.positives - n * fitted))
    return score, float(np.add.reduce(n * fitted * (1.0 - fitted)))


def _solved(information: Float, score: Float) -> Float | None:
    """Return the Newton step; None where the score tells nothing of the slope."""
    aa, ab, bb = information.tolist()
    determinant = aa * bb - ab * ab
    if not determinant > FLATTEST * aa * max(bb, 1e-300):
        return None
    first, second = score.tolist()
    return np.array(
        [(bb * first - ab * second) / determinant, (aa * second - ab * first) / determinant]
    )
