"""Counts over the scores of a test set: confusion, calibration, decision curve, Brier score."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from common.messages.limits import Limits, Patients, patients
from common.messages.plain import plain
from common.statistics.base import Float, Rows, Sums
from common.statistics.exact import complete, matches

BINS = 10
THRESHOLDS: Float = np.arange(1, 100) / 100.0


@plain
class ConfusionResult:
    """True and false positives and negatives, each (k,)."""

    tp: Annotated[Float, patients("models")]
    tn: Annotated[Float, patients("models")]
    fp: Annotated[Float, patients("models")]
    fn: Annotated[Float, patients("models")]


@plain
class Confusion:
    """Confusion counts of every column at its own cut-off; a score at the cut-off is positive.

    Parameters
    ----------
    cutoffs : (k,).

    Examples
    --------
    >>> scores, label = np.array([[0.2], [0.5], [0.9]]), np.array([0.0, 0.0, 1.0])
    >>> rows = Rows(scores, ("model",), label, np.zeros(3, int))
    >>> Confusion(cutoffs=np.array([0.5])).from_rows(rows)
    {'tp': array([1.]), 'tn': array([1.]), 'fp': array([1.]), 'fn': array([0.])}
    """

    cutoffs: Float

    final: ClassVar[bool] = True
    kind: ClassVar[str] = "scores"
    step: ClassVar[dict[str, float]] = {"tp": 0.5, "tn": 0.5, "fp": 0.5, "fn": 0.5}
    tally: ClassVar[dict[str, str]] = {
        "tp": "at most positives",
        "tn": "at most negatives",
        "fp": "at most negatives",
        "fn": "at most positives",
    }
    about: ClassVar[str] = "For each model, true and false positives and negatives at its cut-off."
    attack: ClassVar[str] = (
        "Small numbers, such as one missed patient of all hospitals, are visible. They name"
        " nobody, and they are part of the published results."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "tp": ("models",),
        "tn": ("models",),
        "fp": ("models",),
        "fn": ("models",),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare four vectors of length p."""
        return dict.fromkeys(self.step, (p,))

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's counts; ValueError on missing scores."""
        matches(self.cutoffs, rows, "cutoffs")
        called = complete(rows) >= self.cutoffs
        positive = (rows.label > 0.5)[:, None]
        parts = {
            "tp": called & positive,
            "tn": ~called & ~positive,
            "fp": called & ~positive,
            "fn": ~called & positive,
        }
        return {name: part.sum(axis=0).astype(np.float64) for name, part in parts.items()}

    def finalise(self, sums: Sums) -> ConfusionResult:
        """Return the counts over all sites."""
        return ConfusionResult(**sums)


@plain
class BinnedCalibrationResult:
    """Rows, their summed probability and positives, per column and bin (k, 10)."""

    count: Annotated[Float, patients("models", 10)]
    probability: Annotated[Float, Limits(("models", 10))]
    positives: Annotated[Float, patients("models", 10)]


@plain
class BinnedCalibration:
    """Rows, probabilities and positives in ten bins of equal width; 1.0 belongs to the last.

    Examples
    --------
    >>> scores, label = np.array([[0.02], [0.98]]), np.array([0.0, 1.0])
    >>> rows = Rows(scores, ("model",), label, np.zeros(2, int))
    >>> BinnedCalibration().from_rows(rows)["count"]
    array([[1., 0., 0., 0., 0., 0., 0., 0., 0., 1.]])
    """

    final: ClassVar[bool] = True
    kind: ClassVar[str] = "scores"
    step: ClassVar[dict[str, float]] = {"count": 0.5, "probability": 2.0**-40, "positives": 0.5}
    tally: ClassVar[dict[str, str]] = {
        "count": "cells of rows",
        "probability": "cells",
        "positives": "cells of positives",
    }
    about: ClassVar[str] = (
        "For each model, patients in ten intervals of the probability, their summed"
        " probability, and how many have the endpoint."
    )
    attack: ClassVar[str] = (
        "An interval with one patient of all hospitals shows that patient's probability and"
        " outcome to the coordinator, without saying who or where."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "count": ("models", "10"),
        "probability": ("models", "10"),
        "positives": ("models", "10"),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare three matrices, columns by bins."""
        return dict.fromkeys(self.step, (p, BINS))

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's sums; ValueError on missing scores or no probabilities."""
        scores = _probabilities(rows)
        sums = {name: np.zeros((rows.p, BINS)) for name in self.step}
        edges = np.arange(1, BINS) / BINS
        for column in range(rows.p):
            bins = np.searchsorted(edges, scores[:, column], side="right")
            weights = {"count": None, "probability": scores[:, column], "positives": rows.label}
            for name, weight in weights.items():
                sums[name][column] = np.bincount(bins, weights=weight, minlength=BINS)
        return sums

    def finalise(self, sums: Sums) -> BinnedCalibrationResult:
        """Return the sums over all sites."""
        return BinnedCalibrationResult(**sums)


@plain
class DecisionCountResult:
    """Rows, positives, and true and false positives (k, 99) at thresholds 0.01 ... 0.99."""

    n: Patients
    positives: Patients
    tp: Annotated[Float, patients("models", 99)]
    fp: Annotated[Float, patients("models", 99)]


@plain
class DecisionCounts:
    """True and false positives of every column at thresholds 0.01, 0.02, ... 0.99.

    Examples
    --------
    >>> scores, label = np.array([[0.2], [0.9]]), np.array([0.0, 1.0])
    >>> rows = Rows(scores, ("model",), label, np.zeros(2, int))
    >>> counts = DecisionCounts()
    >>> counts.finalise(counts.from_rows(rows)).fp[0, [18, 19, 20]]
    array([1., 1., 0.])
    """

    final: ClassVar[bool] = True
    kind: ClassVar[str] = "scores"
    step: ClassVar[dict[str, float]] = {"rows": 0.5, "tp": 0.5, "fp": 0.5}
    tally: ClassVar[dict[str, str]] = {
        "rows": "rows by class",
        "tp": "at most positives",
        "fp": "at most negatives",
    }
    about: ClassVar[str] = (
        "For each model, true and false positives at the thresholds 0.01 to 0.99."
    )
    attack: ClassVar[str] = (
        "The difference of two neighbours is the number of patients between two thresholds, so"
        " it says what a histogram with intervals of 0.01 says: a cell can hold one patient of"
        " all hospitals."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "rows": ("2",),
        "tp": ("models", "99"),
        "fp": ("models", "99"),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare negatives and positives, and two matrices, columns by thresholds."""
        return {"rows": (2,), "tp": (p, THRESHOLDS.size), "fp": (p, THRESHOLDS.size)}

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's counts; ValueError on missing scores."""
        scores, positive = complete(rows), rows.label > 0.5
        return {
            "rows": np.array([float((~positive).sum()), float(positive.sum())]),
            "tp": _at_or_above(scores[positive]),
            "fp": _at_or_above(scores[~positive]),
        }

    def finalise(self, sums: Sums) -> DecisionCountResult:
        """Return the counts over all sites."""
        negatives, positives = sums["rows"]
        return DecisionCountResult(
            n=round(float(negatives + positives)),
            positives=round(float(positives)),
            tp=sums["tp"],
            fp=sums["fp"],
        )


@plain
class BrierSums:
    """Sum of squared distances of probability and outcome.

    Examples
    --------
    >>> scores, label = np.array([[0.2], [0.9]]), np.array([0.0, 1.0])
    >>> rows = Rows(scores, ("model",), label, np.zeros(2, int))
    >>> BrierSums().finalise(BrierSums().from_rows(rows)).round(3)
    array([0.025])
    """

    final: ClassVar[bool] = True
    kind: ClassVar[str] = "scores"
    step: ClassVar[dict[str, float]] = {"n": 0.5, "squares": 2.0**-40}
    tally: ClassVar[dict[str, str]] = {"n": "rows", "squares": "at most rows"}
    about: ClassVar[str] = (
        "For each model, the squared distance of probability and outcome, summed."
    )
    attack: ClassVar[str] = (
        "One number a model over all patients of a set tells nothing of one of them. Two totals"
        " that differ by one patient would; the rule for changed cohorts forbids that."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"n": ("1",), "squares": ("models",)}

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare a number and a vector of length p."""
        return {"n": (1,), "squares": (p,)}

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's sums; ValueError on missing scores or no probabilities."""
        squares = np.square(_probabilities(rows) - rows.label[:, None])
        return {"n": np.array([float(rows.n)]), "squares": squares.sum(axis=0)}

    def finalise(self, sums: Sums) -> Float:
        """Return the Brier score (k,); NaN without rows."""
        n = float(sums["n"][0])
        return sums["squares"] / n if n >= 1 else np.full(sums["squares"].shape, np.nan)


def _probabilities(rows: Rows) -> Float:
    scores = complete(rows)
    if scores.size and (scores.min() < 0 or scores.max() > 1):
        raise ValueError("scores must be probabilities between 0 and 1")
    return scores


def _at_or_above(scores: Float) -> Float:
    counts = np.empty((scores.shape[1], THRESHOLDS.size))
    for column in range(scores.shape[1]):
        ordered = np.sort(scores[:, column])
        counts[column] = ordered.size - np.searchsorted(ordered, THRESHOLDS, side="left")
    return counts
