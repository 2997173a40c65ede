"""Decision curves: net benefit against the threshold probability for treatment."""

from __future__ import annotations

import numpy as np
import scipy

from common.messages.plain import plain
from common.statistics.base import Float
from common.statistics.scores import THRESHOLDS, DecisionCountResult


@plain
class DecisionCurve:
    """Net benefit at thresholds (99,) of the model and of treating all.

    `low` and `high` are the ends of the model's 95 % interval at each threshold.
    """

    threshold: Float
    model: Float
    treat_all: Float
    low: Float
    high: Float


def decision_curve(result: DecisionCountResult, column: int) -> DecisionCurve:
    """Return the curve of a model (Vickers and Elkin 2006): tp/n - fp/n * t / (1 - t).

    That is the mean of a value of each patient: 1 of a true positive, minus the odds of the
    threshold of a false one, else 0. The interval is that of a mean, whose variance follows from
    the counts (Marsh, Janes and Pepe 2020, Biometrics 76:843-852).

    Raises
    ------
    ValueError : no rows.

    Examples
    --------
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
    tp, fp = result.tp[column], result.fp[column]
    model = (tp - fp * odds) / result.n
    spread = np.clip((tp + fp * odds**2) / result.n - model**2, 0.0, None)
    half = float(scipy.stats.norm.ppf(0.975)) * np.sqrt(spread / result.n)
    return DecisionCurve(
        threshold=THRESHOLDS.copy(),
        model=model,
        treat_all=prevalence - (1.0 - prevalence) * odds,
        low=model - half,
        high=model + half,
    )
