"""Counts of rows and positives per fold, and of each level of a coded column."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Rows, Sums


@plain
class FoldCountResult:
    """Rows and positives, both (folds,)."""

    rows: Float
    positives: Float


@plain
class FoldCounts:
    """Training rows and positives in each of `folds` folds; rows with fold -1 are left out.

    Examples
    --------
    >>> rows = Rows(np.zeros((3, 1)), ("age",), np.array([0.0, 1.0, 1.0]), np.array([0, 0, 1]))
    >>> FoldCounts(folds=2).from_rows(rows)
    {'rows': array([2., 1.]), 'positives': array([1., 1.])}
    """

    folds: int

    kind: ClassVar[str] = "folds"
    step: ClassVar[dict[str, float]] = {"rows": 0.5, "positives": 0.5}
    tally: ClassVar[dict[str, str]] = {"rows": "rows by fold", "positives": "positives by fold"}
    about: ClassVar[str] = "Training patients in each fold, and how many have the endpoint."
    attack: ClassVar[str] = "Nothing beyond these numbers, which are large by rule."
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"rows": ("folds",), "positives": ("folds",)}

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare two vectors of length folds."""
        return {"rows": (self.folds,), "positives": (self.folds,)}

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's counts."""
        used = rows.fold >= 0
        fold = rows.fold[used]
        if fold.size and fold.max() >= self.folds:
            raise ValueError(f"fold {fold.max()} of {self.folds}")
        return {
            "rows": np.bincount(fold, minlength=self.folds).astype(np.float64),
            "positives": np.bincount(fold[rows.label[used] > 0.5], minlength=self.folds).astype(
                np.float64
            ),
        }

    def finalise(self, sums: Sums) -> FoldCountResult:
        """Return the counts over all sites."""
        return FoldCountResult(rows=sums["rows"], positives=sums["positives"])


@plain
class LevelCountResult:
    """Counts (p, levels) of each level of each coded column."""

    counts: Float

    def mode(self) -> Float:
        """Return the mode per column, the lowest on a tie (as scipy); NaN without values."""
        found = self.counts.sum(axis=1) > 0
        return np.where(found, np.argmax(self.counts, axis=1).astype(np.float64), np.nan)


@plain
class LevelCounts:
    """Counts of each code 0 ... levels-1 in each column; missing values are left out.

    Examples
    --------
    >>> rows = Rows(np.array([[0.0], [1.0], [1.0]]), ("sex",), np.zeros(3), np.zeros(3, int))
    >>> counts = LevelCounts(levels=2)
    >>> result = counts.finalise(counts.from_rows(rows))
    >>> result.counts, result.mode()
    (array([[1., 2.]]), array([1.]))
    """

    levels: int

    final: ClassVar[bool] = True
    kind: ClassVar[str] = "cells"
    step: ClassVar[dict[str, float]] = {"counts": 0.5}
    tally: ClassVar[dict[str, str]] = {"counts": "cells"}
    about: ClassVar[str] = "How many patients have each level of each clinical column (Table 1)."
    attack: ClassVar[str] = (
        "The coordinator sees pooled cells as small as one patient of all hospitals; the report"
        " withholds them."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"counts": ("columns", "levels")}

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare one matrix, columns by levels."""
        return {"counts": (p, self.levels)}

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's counts.

        Raises
        ------
        ValueError : a value that is neither missing nor a code below `levels`.
        """
        counts = np.zeros((rows.p, self.levels))
        for level in range(self.levels):
            counts[:, level] = (rows.values == level).sum(axis=0)
        present = np.isfinite(rows.values).sum(axis=0)
        wrong = counts.sum(axis=1) != present
        if wrong.any():
            name = rows.columns[int(np.argmax(wrong))]
            raise ValueError(f"column {name} has values that are not codes below {self.levels}")
        return {"counts": counts}

    def finalise(self, sums: Sums) -> LevelCountResult:
        """Return the counts over all sites."""
        return LevelCountResult(counts=sums["counts"])
