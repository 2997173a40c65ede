"""Positions of the normal scores of a column, read off its histogram over all sites.

The score of the r-th of n values is the normal quantile at (r - 1/2) / n (van der Waerden, 1952).
The scores of any column are normal, so a matrix of their products cannot distinguish one rotation
of the patients from another; and they do not change under monotone changes of units.
"""

from __future__ import annotations

import numpy as np

from common.statistics.base import Float
from common.statistics.histogram import HistogramResult
from common.utils import portable

STEPS = 30
# tails that grow faster than this per unit of score are cut at the limit instead
FASTEST_GROWTH = 1.0


def score_grid(limit: float) -> Float:
    """Return the scores (31,) at whose values knots are laid, from -limit to limit."""
    return np.linspace(-limit, limit, STEPS + 1)


def knots_of(cells: HistogramResult, limit: float) -> Float:
    """Return values (p, 31) of standardised columns that have the scores of `score_grid`.

    Between the edges of cells, whose scores the counts give, values and scores are linear. Beyond
    the first and the last inner edge the slope keeps changing by the ratio of the two cells before,
    so a long tail is compressed and a short one stretched. A column with a single cell keeps its
    values.

    Parameters
    ----------
    cells : edges (p, cells + 1) and counts (p, cells); empty cells are passed over.
    limit : largest score.
    """
    grid = score_grid(limit)
    return np.array(
        [_column(grid, edges, held) for edges, held in zip(cells.edges, cells.counts, strict=True)]
    ).reshape(-1, grid.size)


def _column(grid: Float, edges: Float, held: Float) -> Float:
    filled = held > 0.5
    below = np.cumsum(held[filled])
    ends = edges[1:][filled][:-1]
    if ends.size == 0:
        return grid
    scores = portable.normal_quantile(below[:-1] / below[-1])
    knots = portable.interpolate(grid, scores, ends)
    lower, upper = grid < scores[0], grid > scores[-1]
    knots[lower] = ends[0] - _tail(scores[0] - grid[lower], -scores, -ends)
    knots[upper] = ends[-1] + _tail(grid[upper] - scores[-1], scores[::-1], ends[::-1])
    return knots


def _tail(beyond: Float, scores: Float, ends: Float) -> Float:
    """Return how far a value lies beyond the outermost edge when its score lies `beyond` it.

    Parameters
    ----------
    scores, ends : of the edges, the outermost first.
    """
    if ends.size == 1:
        return beyond
    growth = np.diff(ends[:3]) / np.diff(scores[:3])
    if growth.size == 1:
        return np.asarray(growth[0] * beyond)
    if not growth.all():  # tied values: two edges in one place carry no change
        return np.asarray(growth[0] * beyond)
    apart = abs(scores[0] - scores[2]) / 2.0
    steeper = float(portable.log(growth[0] / growth[1])) / apart
    change = min(max(steeper, -FASTEST_GROWTH), FASTEST_GROWTH)
    outermost = growth[0] * float(portable.exp(change * abs(scores[0] - scores[1]) / 2.0))
    stretched = beyond if change == 0.0 else portable.expm1(change * beyond) / change
    return np.asarray(outermost * stretched)
