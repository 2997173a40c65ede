"""Rows, sums and squares per fold: mean and deviation of any training set made of whole folds."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Rows, Sums
from common.statistics.exact import complete

# below this share of a column's squares its variance is rounding
FLAT = 1e-9


@plain
class FoldMomentsResult:
    """Per fold: rows and positives (folds,), sums and sums of squares (folds, p)."""

    rows: Float
    positives: Float
    total: Float
    squares: Float

    def outside(self, excluded: int, column: int = 0) -> tuple[float, float]:
        """Return mean and deviation of a column over all folds but one, -1 for all of them.

        The deviation is 0.0 where all values are equal.
        """
        kept = [fold for fold in range(self.rows.size) if fold != excluded]
        n = math.fsum(float(self.rows[fold]) for fold in kept)
        if n < 1:
            return 0.0, 0.0
        mean = math.fsum(float(self.total[fold, column]) for fold in kept) / n
        square = math.fsum(float(self.squares[fold, column]) for fold in kept) / n
        variance = max(square - mean * mean, 0.0)
        return mean, 0.0 if variance <= FLAT * max(square, FLAT) else math.sqrt(variance)


@plain
class FoldMoments:
    """Rows, positives, sum and sum of squares of every column in each of `folds` folds.

    For values about 1, such as probabilities. Rows with fold -1 are left out.

    Examples
    --------
    >>> values, fold = np.array([[0.2], [0.4], [0.9]]), np.array([0, 0, 1])
    >>> rows, moments = Rows(values, ("dl3d",), np.zeros(3), fold), FoldMoments(folds=2)
    >>> mean, deviation = moments.finalise(moments.from_rows(rows)).outside(1)
    >>> round(mean, 3), round(deviation, 3)
    (0.3, 0.1)
    """

    folds: int

    kind: ClassVar[str] = "folds"
    step: ClassVar[dict[str, float]] = {
        "rows": 0.5,
        "positives": 0.5,
        "total": 2.0**-40,
        "squares": 2.0**-40,
    }
    tally: ClassVar[dict[str, str]] = {"rows": "rows by fold", "positives": "positives by fold"}
    about: ClassVar[str] = (
        "For each fold, its patients, and the sum of a network's probabilities and of their"
        " squares, which put the networks of different folds on one scale."
    )
    attack: ClassVar[str] = (
        "Mean and spread of one number over the patients of a fold, which are many by rule. They"
        " say how sure a network is of them, not of whom."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "rows": ("folds",),
        "positives": ("folds",),
        "total": ("folds", "columns"),
        "squares": ("folds", "columns"),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare two vectors of length folds, and two matrices, folds by columns."""
        counts, sums = (self.folds,), (self.folds, p)
        return {"rows": counts, "positives": counts, "total": sums, "squares": sums}

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's sums; ValueError on missing values or a fold number too high."""
        values = complete(rows)
        if rows.n and rows.fold.max() >= self.folds:
            raise ValueError(f"fold {rows.fold.max()} of {self.folds}")
        inside = [values[rows.fold == fold] for fold in range(self.folds)]
        positives = [rows.label[rows.fold == fold].sum() for fold in range(self.folds)]
        return {
            "rows": np.array([float(len(own)) for own in inside]),
            "positives": np.array(positives, dtype=np.float64),
            "total": np.array([own.sum(axis=0) for own in inside]),
            "squares": np.array([np.square(own).sum(axis=0) for own in inside]),
        }

    def finalise(self, sums: Sums) -> FoldMomentsResult:
        """Return the sums over all sites."""
        return FoldMomentsResult(**sums)
