"""Decision curves: net benefit against the threshold probability for treatment."""

from __future__ import annotations

from common.messages.plain import plain
from common.statistics.base import Float
from common.statistics.scores import THRESHOLDS, DecisionCountResult


@plain
class DecisionCurve:
    """Net benefit at thresholds (99,) of the model and of treating all."""

    threshold: Float
    model: Float
    treat_all: Float


def decision_curve(result: DecisionCountResult, column: int) -> DecisionCurve:
    """Return the curve of a model (Vickers and Elkin 2006): tp/n - fp/n * t / (1 - t).

    Raises
    ------
    ValueError : no rows.

    Examples
    --------
    >>> import numpy as np
    >>> from common.statistics.base import Rows
    >>> from common.statistics.scores import DecisionCounts
    >>> label = np.array([0.0, 1.0])
    >>> rows = Rows(np.array([[0.2], [0.6]]), ("model",), label, np.zeros(2, int))
    >>> counts = DecisionCounts()
    >>> curve = decision_curve(counts.finalise(counts.from_rows(rows)), 0)
    >>> curve.threshold[49].item(), curve.model[49].item(), curve.treat_all[49].item()
    (0.5, 0.5, 0.0)
    """
    if result.n < 1:
        raise ValueError("a decision curve needs rows")
    odds = THRESHOLDS / (1.0 - THRESHOLDS)
    prevalence = result.positives / result.n
    return DecisionCurve(
        threshold=THRESHOLDS.copy(),
        model=(result.tp[column] - result.fp[column] * odds) / result.n,
        treat_all=prevalence - (1.0 - prevalence) * odds,
    )
