"""Counts per fold and cell, which show how many rows differ from a column's usual value.

A column in which few rows differ from all others reveals these rows: its products with the other
columns, summed, are little more than their values. `Support` is the evidence that no column of a
Gram matrix is like that.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from common.messages.plain import plain
from common.statistics.base import Float, Int, Rows, Sums
from common.statistics.exact import complete, matches
from common.statistics.histogram import cell_of


@plain
class Support:
    """Number of rows of all sites outside the fullest cell of each column.

    Parameters
    ----------
    low, high : (p,), the fullest cell [low, high) in the units of the view.
    apart : (folds, p), rows outside it.
    """

    low: Float
    high: Float
    apart: Float

    def narrow(self, columns: Int) -> Support:
        """Return the support of fewer columns, given by index."""
        return Support(low=self.low[columns], high=self.high[columns], apart=self.apart[:, columns])

    def limited(self, lowest: Float, highest: Float) -> Support:
        """Return the support after values are limited to `lowest` ... `highest`, each (p,).

        Values beyond a limit move to it, so a cell that reaches beyond it takes in all of them.
        """
        low = np.where(self.low <= lowest, -np.inf, np.minimum(self.low, highest))
        just_above = np.nextafter(lowest, np.inf)
        high = np.where(self.high > highest, np.inf, np.maximum(self.high, just_above))
        return Support(low=low, high=high, apart=self.apart)

    def of(self, rows: Rows, folds: int) -> Float:
        """Return one site's rows (folds, p) outside the cells; ValueError on missing values."""
        outside = (complete(rows) < self.low) | (rows.values >= self.high)
        return np.array([outside[rows.fold == fold].sum(axis=0) for fold in range(folds)])


def enough(apart: Float, fewest: float) -> NDArray[np.bool_]:
    """Tell where each fold (folds, ...) has no rows apart or at least `fewest`, and some fold has.

    A fold in which nobody differs tells of nobody; sums of folds and their differences are about
    groups of at least `fewest` then.

    Examples
    --------
    >>> enough(np.array([[8.0, 2.0, 0.0], [0.0, 9.0, 0.0]]), 5)
    array([ True, False, False])
    """
    short = (apart > 0.5) & (apart < fewest - 0.5)
    return np.asarray(~short.any(axis=0) & (apart.max(axis=0) > fewest - 0.5))


@plain
class FoldHistogramResult:
    """Edges (p, cells + 1) and counts (folds, p, cells) over all sites."""

    edges: Float
    counts: Float

    def support(self) -> Support:
        """Return the rows outside each column's fullest cell, the first of equal ones."""
        whole = self.counts.sum(axis=0)
        column, fullest = np.arange(whole.shape[0]), np.argmax(whole, axis=1)
        low, high = self.edges[column, fullest], self.edges[column, fullest + 1]
        # end cells reach to infinity, whatever their edges
        low = np.where(fullest == 0, -np.inf, low)
        high = np.where(fullest == whole.shape[1] - 1, np.inf, high)
        inside = self.counts[:, column, fullest]
        return Support(low=low, high=high, apart=self.counts.sum(axis=2) - inside)


@plain
class FoldHistogram:
    """Counts per fold, column and cell. Rows with fold -1 are left out.

    Parameters
    ----------
    folds : number of folds.
    edges : (p, cells + 1), not decreasing; end cells reach to infinity.

    Examples
    --------
    >>> values = np.array([[1.0], [1.5], [4.0]])
    >>> rows = Rows(values, ("age",), np.zeros(3), np.array([0, 1, 1]))
    >>> histogram = FoldHistogram(folds=2, edges=np.array([[0.0, 2.0, 5.0]]))
    >>> histogram.finalise(histogram.from_rows(rows)).support().apart
    array([[0.],
           [1.]])
    """

    folds: int
    edges: Float

    kind: ClassVar[str] = "support"
    step: ClassVar[dict[str, float]] = {"counts": 0.5}
    bits: ClassVar[dict[str, int]] = {"counts": 32}
    tally: ClassVar[dict[str, str]] = {"counts": "cells of folds"}
    about: ClassVar[str] = (
        "How many training patients lie in each interval of each column, in each fold."
    )
    attack: ClassVar[str] = (
        "A cell with one patient of all hospitals tells the coordinator that someone has a"
        " value in this interval, not who or where. It is used to leave rare columns out of Gram"
        " matrices."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"counts": ("folds", "columns", "cells")}

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare folds by columns by cells."""
        return {"counts": (self.folds, p, self.edges.shape[1] - 1)}

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's counts; ValueError on missing values or a fold number too high."""
        matches(self.edges, rows, "edges")
        values = complete(rows)
        if rows.n and rows.fold.max() >= self.folds:
            raise ValueError(f"fold {rows.fold.max()} of {self.folds}")
        cells = self.edges.shape[1] - 1
        used = rows.fold >= 0
        counts = np.zeros((self.folds, rows.p, cells))
        for column in range(rows.p):
            cell = cell_of(values[used, column], self.edges[column])
            place = rows.fold[used] * cells + cell
            own = np.bincount(place, minlength=self.folds * cells)
            counts[:, column] = own.reshape(self.folds, cells)
        return {"counts": counts}

    def finalise(self, sums: Sums) -> FoldHistogramResult:
        """Return the counts over all sites."""
        return FoldHistogramResult(edges=self.edges, counts=sums["counts"])
