"""Decision curves: net benefit against the threshold at which one would treat."""

from __future__ import annotations

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float
from common.statistics.scores import THRESHOLDS, DecisionCountResult


@plain
class DecisionCurve:
    """Net benefit at thresholds (99,) of the model, of treating all and of treating none."""

    threshold: Float
    model: Float
    treat_all: Float
    treat_none: Float


def decision_curve(result: DecisionCountResult, column: int) -> DecisionCurve:
    """Curve of the model in `column` (Vickers and Elkin 2006): tp/n - fp/n * t / (1 - t).

    Raises
    ------
    ValueError : no rows.
    """
    if result.n < 1:
        raise ValueError("a decision curve needs rows")
    odds = THRESHOLDS / (1.0 - THRESHOLDS)
    prevalence = result.positives / result.n
    return DecisionCurve(
        threshold=THRESHOLDS.copy(),
        model=(result.tp[column] - result.fp[column] * odds) / result.n,
        treat_all=prevalence - (1.0 - prevalence) * odds,
        treat_none=np.zeros(THRESHOLDS.size),
    )
