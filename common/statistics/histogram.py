"""Histograms of every column on edges of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Int, Rows, Sums
from common.statistics.exact import matches


def cell_of(values: Float, edges: Float) -> Int:
    """Return the index of the cell [edge, next edge) that each value falls in.

    Values beyond the outer edges belong to the end cells.

    Parameters
    ----------
    values : (n,), finite.
    edges : (cells + 1,), not decreasing; equal edges make an empty cell.
    """
    return np.searchsorted(edges[1:-1], values, side="right").astype(np.int64)


def cell_counts(values: Float, edges: Float) -> Float:
    """Return the number of values in each cell, (cells,); missing values are left out."""
    cells = cell_of(values[np.isfinite(values)], edges)
    return np.bincount(cells, minlength=edges.size - 1).astype(np.float64)


@plain
class HistogramResult:
    """Edges (p, cells + 1) and counts (p, cells)."""

    edges: Float
    counts: Float

    def narrow(self, columns: Int) -> HistogramResult:
        """Return the histogram of fewer columns, given by index."""
        return HistogramResult(edges=self.edges[columns], counts=self.counts[columns])


def filled_up(columns: Sequence[tuple[Sequence[float], Sequence[float]]]) -> HistogramResult:
    """Return columns with different numbers of cells as one table.

    Short columns are filled with empty cells at +infinity.

    Parameters
    ----------
    columns : right edges and counts of the cells of each column.
    """
    width = max([1, *(len(counts) for _, counts in columns)])
    edges = np.full((len(columns), width + 1), np.inf)
    counts = np.zeros((len(columns), width))
    edges[:, 0] = -np.inf
    for column, (ends, held) in enumerate(columns):
        edges[column, 1 : len(ends) + 1] = ends
        counts[column, : len(held)] = held
    return HistogramResult(edges=edges, counts=counts)


@plain
class Histogram:
    """Counts per column and cell; missing values are left out.

    Parameters
    ----------
    edges : (p, cells + 1), not decreasing; end cells reach to infinity.

    Examples
    --------
    >>> rows = Rows(np.array([[1.0], [1.5], [4.0]]), ("age",), np.zeros(3), np.zeros(3, int))
    >>> Histogram(edges=np.array([[0.0, 2.0, 5.0]])).from_rows(rows)
    {'counts': array([[2., 1.]])}
    """

    edges: Float

    kind: ClassVar[str] = "rank_histogram"
    step: ClassVar[dict[str, float]] = {"counts": 0.5}
    bits: ClassVar[dict[str, int]] = {"counts": 32}
    tally: ClassVar[dict[str, str]] = {"counts": "cells"}
    about: ClassVar[str] = "How many patients lie in each interval of each column."
    attack: ClassVar[str] = (
        "A cell with one patient of all hospitals tells the coordinator that someone has a"
        " value in this interval, not who or where. A column that Table 1 summarises by its"
        " median is counted again in narrower intervals, around the quartiles of each set and"
        " wherever many patients lie, until each quartile is known to a hundredth of the"
        " distance between the quartiles: then an interval often holds one patient of all"
        " hospitals. Where the study says how many decimals a column has, an interval may be one"
        " recorded value: the coordinator then sees the pooled distribution, its smallest and"
        " largest value included. Published are the quartiles alone."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"counts": ("columns", "cells")}

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare one matrix, columns by cells."""
        return {"counts": (p, self.edges.shape[1] - 1)}

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's counts."""
        matches(self.edges, rows, "edges")
        counts = np.zeros((rows.p, self.edges.shape[1] - 1))
        for column in range(rows.p):
            counts[column] = cell_counts(rows.values[:, column], self.edges[column])
        return {"counts": counts}

    def finalise(self, sums: Sums) -> HistogramResult:
        """Return the counts over all sites."""
        return HistogramResult(edges=self.edges, counts=sums["counts"])
