"""Sums behind calibration slope and intercept: one Newton step of logistic regressions."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from common.messages.limits import Limits, Patients
from common.messages.plain import plain
from common.statistics.base import Float, Rows, Sums
from common.statistics.exact import complete, matches
from common.utils import portable

FARTHEST = 1e-8
"""Distance from 0 and 1 that a probability keeps, as their logits are infinite (Van Calster et al.
2023, R package CalibrationCurves)."""


@plain
class CalibrationTotals:
    """Totals of k models: summed probability, and derivatives of two log-likelihoods.

    Parameters
    ----------
    n, positives : rows, and those with the endpoint.
    expected : (k,), summed probability.
    score, information : (k, 2) and (k, 3) in intercept and slope, packed row by row.
    large : (k, 2), score and information of the intercept where the slope is 1.
    """

    n: Patients
    positives: Patients
    expected: Annotated[Float, Limits(("models",))]
    score: Annotated[Float, Limits(("models", 2))]
    information: Annotated[Float, Limits(("models", 3))]
    large: Annotated[Float, Limits(("models", 2))]


@plain
class CalibrationSums:
    """Score and information of logistic regressions of the outcome on the logit of a probability.

    Parameters
    ----------
    intercept, slope : (k,), where the derivatives are taken.
    large : (k,), likewise of the regression whose slope is 1.

    Examples
    --------
    >>> scores, label = np.array([[0.2], [0.7]]), np.array([0.0, 1.0])
    >>> rows = Rows(scores, ("model",), label, np.zeros(2, int))
    >>> sums = CalibrationSums(np.zeros(1), np.ones(1), np.zeros(1))
    >>> found = sums.finalise(sums.from_rows(rows))
    >>> found.expected.round(3), found.score[:, 0].round(3), found.large[:, 1].round(3)
    (array([0.9]), array([0.1]), array([0.37]))
    """

    intercept: Float
    slope: Float
    large: Float

    final: ClassVar[bool] = True
    kind: ClassVar[str] = "calibration"
    step: ClassVar[dict[str, float]] = {
        "rows": 0.5,
        "expected": 2.0**-40,
        "score": 2.0**-36,
        "information": 2.0**-36,
        "large": 2.0**-36,
    }
    tally: ClassVar[dict[str, str]] = {"rows": "rows by class", "expected": "at most rows"}
    about: ClassVar[str] = (
        "For each model, its summed probability, and how the fit of outcomes to its probabilities"
        " changes with an intercept and a slope."
    )
    attack: ClassVar[str] = (
        "Eight numbers a model over all patients of a set or of one of its levels, at one point"
        " that follows from the histogram of scores. By asking at very many points one could sound"
        " out that histogram, whose cells the coordinator has."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "rows": ("2",),
        "expected": ("models",),
        "score": ("models", "2"),
        "information": ("models", "3"),
        "large": ("models", "2"),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare two counts and eight numbers a column."""
        return {
            "rows": (2,),
            "expected": (p,),
            "score": (p, 2),
            "information": (p, 3),
            "large": (p, 2),
        }

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's sums.

        Raises
        ------
        ValueError : missing scores, no probabilities, or a point for other columns.
        """
        for name in ("intercept", "slope", "large"):
            matches(getattr(self, name), rows, name)
        scores, y = complete(rows), rows.label[:, None]
        if scores.size and (scores.min() < 0 or scores.max() > 1):
            raise ValueError("scores must be probabilities between 0 and 1")
        x = logit(scores)
        fitted = expit(self.intercept + self.slope * x)
        rest, weight = y - fitted, fitted * (1.0 - fitted)
        fitted_large = expit(self.large + x)
        large = np.stack([y - fitted_large, fitted_large * (1.0 - fitted_large)])
        positive = rows.label > 0.5
        return {
            "rows": np.array([float((~positive).sum()), float(positive.sum())]),
            "expected": scores.sum(axis=0),
            "score": np.stack([rest.sum(axis=0), (x * rest).sum(axis=0)], axis=1),
            "information": np.stack(
                [weight.sum(axis=0), (x * weight).sum(axis=0), (x * x * weight).sum(axis=0)],
                axis=1,
            ),
            "large": large.sum(axis=1).T.copy(),
        }

    def finalise(self, sums: Sums) -> CalibrationTotals:
        """Return the totals over all sites."""
        negatives, positives = sums["rows"]
        return CalibrationTotals(
            n=round(float(negatives + positives)),
            positives=round(float(positives)),
            expected=sums["expected"],
            score=sums["score"],
            information=sums["information"],
            large=sums["large"],
        )


def logit(probability: Float) -> Float:
    """Return log(p / (1 - p)), of any shape, the same bits on every machine.

    >>> logit(np.array([0.5, 0.0])).round(2).tolist()
    [0.0, -18.42]
    """
    kept = np.clip(probability, FARTHEST, 1.0 - FARTHEST)
    return portable.log(kept) - portable.log(1.0 - kept)


def expit(x: Float) -> Float:
    """Return 1 / (1 + exp(-x)), of any shape, the same bits on every machine.

    >>> expit(np.array([0.0, 800.0, -800.0])).tolist()
    [0.5, 1.0, 0.0]
    """
    small = portable.exp(-np.abs(x))
    return np.where(x < 0, small, 1.0) / (1.0 + small)
