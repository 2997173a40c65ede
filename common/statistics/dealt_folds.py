"""Dealing of cross-validation folds by the levels that the patients of all sites have."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Rows, Sums
from common.statistics.counts import FoldCountResult, FoldCounts, LevelCounts


@plain
class LevelTotals(LevelCounts):
    """Training patients of all sites with each level, by which every site deals its folds.

    Examples
    --------
    >>> rows = Rows(np.array([[0.0], [1.0], [1.0]]), ("sex",), np.zeros(3), np.zeros(3, int))
    >>> totals = LevelTotals(levels=2)
    >>> totals.finalise(totals.from_rows(rows)).counts
    array([[1., 2.]])
    """

    final: ClassVar[bool] = False
    about: ClassVar[str] = (
        "How many training patients have each level of the clinical columns by which folds are"
        " dealt."
    )
    attack: ClassVar[str] = (
        "The same numbers follow from Table 1 and from the means of the clinical columns; a"
        " level that one patient of all hospitals has is seen, not whose it is."
    )


@plain
class DealtFolds:
    """Rows and positives in each fold, once a site has dealt its patients by these totals.

    The only question after which a site is not as before: its folds are dealt once, for good.

    Parameters
    ----------
    folds : number of folds.
    totals : (columns, levels), rows of all sites with each level, see `LevelTotals`.

    Examples
    --------
    >>> rows = Rows(np.zeros((3, 1)), ("sex",), np.array([0.0, 1.0, 1.0]), np.array([0, 0, 1]))
    >>> DealtFolds(folds=2, totals=np.array([[3.0, 0.0]])).from_rows(rows)
    {'rows': array([2., 1.]), 'positives': array([1., 1.])}
    """

    folds: int
    totals: Float

    kind: ClassVar[str] = "dealing"
    step: ClassVar[dict[str, float]] = FoldCounts.step
    tally: ClassVar[dict[str, str]] = FoldCounts.tally
    about: ClassVar[str] = (
        "Training patients in each fold, and how many have the endpoint, after the hospital has"
        " dealt its folds by the rare levels of all hospitals."
    )
    attack: ClassVar[str] = (
        "Nothing beyond these numbers, which are large by rule. Folds cannot be dealt a second"
        " time, so no two dealings can be compared."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = FoldCounts.axes

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare two vectors of length folds."""
        return FoldCounts(self.folds).shapes(p)

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's counts."""
        return FoldCounts(self.folds).from_rows(rows)

    def finalise(self, sums: Sums) -> FoldCountResult:
        """Return the counts over all sites."""
        return FoldCounts(self.folds).finalise(sums)

    def exceeded_by(self, rows: Rows) -> bool:
        """Return whether a site has more rows of a level than all sites are said to have."""
        levels = np.arange(self.totals.shape[-1])
        own = (rows.values[:, :, np.newaxis] == levels).sum(axis=0)
        unknown = (rows.values >= levels.size).any()
        return bool(unknown or own.shape != self.totals.shape or (own > self.totals + 0.5).any())
