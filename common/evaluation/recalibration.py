"""Recalibration of a model at new patients: its effect on Brier score and net benefit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import scipy

from common.evaluation.calibration_fit import CalibrationFit, Points
from common.messages.limits import Limits
from common.messages.plain import plain
from common.statistics.base import Float

WAYS = ("none", "large", "logistic")


@plain
class Recalibrated:
    """Brier score and net benefit at the cut-off, (k, 3): as it is, and recalibrated in two ways.

    In the large the intercept changes alone, logistically intercept and slope (Steyerberg 2019,
    Clinical Prediction Models, section 15.3). Fitted on the patients that it is measured on, which
    flatters it.
    """

    brier: Annotated[Float, Limits(("models", 3), unknown=True)]
    net_benefit: Annotated[Float, Limits(("models", 3), unknown=True)]


def recalibrated(
    models: Sequence[Points], fit: CalibrationFit, cutoffs: Float, brier: Float, benefit: Float
) -> Recalibrated:
    """Recalibrate each model by its fit to the same patients.

    Parameters
    ----------
    cutoffs : (k,), probabilities above which patients would be treated, before and after.
    brier, benefit : (k,), of the model as it is; from rows or cells comes the difference.

    Examples
    --------
    >>> from common.evaluation.calibration_fit import fit_rows
    >>> from common.statistics.base import Rows
    >>> p = np.array([[0.5], [0.6], [0.7], [0.8], [0.9], [0.95]])
    >>> rows = Rows(p, ("model",), np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0]), np.zeros(6, int))
    >>> points, cutoff = [Points.of_rows(rows.values[:, 0], rows.label)], np.array([0.55])
    >>> found = recalibrated(points, fit_rows(rows), cutoff, np.array([0.24]), np.array([0.13]))
    >>> bool(found.brier[0, 2] < found.brier[0, 1] < found.brier[0, 0])
    True
    """
    shape = (len(models), len(WAYS))
    scores, benefits = np.full(shape, np.nan), np.full(shape, np.nan)
    for i, points in enumerate(models):
        lines = ((0.0, 1.0), (fit.large[i], 1.0), (fit.intercept[i], fit.slope[i]))
        for way, (intercept, slope) in enumerate(lines):
            if points.x.size and np.isfinite([intercept, slope]).all():
                scores[i, way] = _brier(points, intercept, slope)
                benefits[i, way] = _benefit(points, intercept, slope, float(cutoffs[i]))
    return Recalibrated(
        brier=brier[:, None] + (scores - scores[:, :1]),
        net_benefit=benefit[:, None] + (benefits - benefits[:, :1]),
    )


def net_benefit(tp: Float, fp: Float, n: float, cutoffs: Float) -> Float:
    """Return net benefit at cut-offs below 1, NaN elsewhere (Vickers and Elkin 2006)."""
    odds = np.divide(cutoffs, 1.0 - cutoffs, out=np.full(cutoffs.shape, np.nan), where=cutoffs < 1)
    return (tp - fp * odds) / n if n else np.full(cutoffs.shape, np.nan)


def _brier(points: Points, intercept: float, slope: float) -> float:
    p = scipy.special.expit(intercept + slope * points.x)
    total = points.positives @ (1.0 - p) ** 2 + points.negatives @ p**2
    return float(total / sum(points.counts))


def _benefit(points: Points, intercept: float, slope: float, cutoff: float) -> float:
    if not 0.0 < cutoff < 1.0:
        return float("nan")
    ends = np.sort(intercept + slope * np.stack([points.lower, points.upper]), axis=0)
    place = float(scipy.special.logit(cutoff))
    width = ends[1] - ends[0]
    # of a cell that the cut-off divides, the share above it; rows have no width
    share = np.divide(ends[1] - place, width, out=np.zeros_like(width), where=width > 0)
    above = np.where(width > 0, np.clip(share, 0.0, 1.0), ends[1] >= place - 1e-12)
    found = net_benefit(
        np.array([above @ points.positives]),
        np.array([above @ points.negatives]),
        sum(points.counts),
        np.array([cutoff]),
    )
    return float(found[0])
