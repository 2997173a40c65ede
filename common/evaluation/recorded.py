"""Medians and quartiles from counts: cells for values recorded to so many decimals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.statistics.base import Float

MOST_CELLS = 1024
NARROWEST = 6.0  # deviations that the cells reach to either side at least


@dataclass(frozen=True)
class Cells:
    """Cells of one column.

    Parameters
    ----------
    edges : (cells + 1,), not decreasing; the end cells are open.
    low, high : (cells,), lowest and highest value that a row of the cell is taken to have; the
        same where a cell holds one recorded value.
    """

    edges: Float
    low: Float
    high: Float

    @property
    def single(self) -> bool:
        """Whether every cell but the open ones holds one recorded value."""
        return bool((self.low[1:-1] == self.high[1:-1]).all())

    def exact(self, counts: Float) -> bool:
        """Whether these counts (cells,) leave no two different values in one cell."""
        return self.single and counts[0] <= 1 and counts[-1] <= 1


def recorded_cells(n: float, mean: float, deviation: float, decimals: int) -> Cells:
    """Cells around the mean, each with one value as recorded if that takes at most 1024 cells.

    No value lies further than sqrt(n - 1) deviations from the mean (Samuelson 1968), so cells that
    reach that far hold all. Where they would be too many, fewer are used; they hold several values
    each where they would not reach six deviations.

    Parameters
    ----------
    n, mean, deviation : of all sites together, with ddof = 0; no value of any patient.
    decimals : number of decimals recorded.
    """
    unit = 10.0**-decimals
    most = MOST_CELLS // 2 - 2
    spread, furthest = deviation / unit, np.sqrt(max(n - 1.0, 0.0))
    # one cell more, as the mean is rounded to a recorded value
    side = int(min(np.ceil(furthest * spread) + 1, most))
    width = max(1, int(np.ceil((min(NARROWEST, furthest) * spread + 1) / most)))
    first = np.rint(mean / unit) - side * width
    start = first + width * np.arange(2 * side + 2)
    edges = np.concatenate([[-np.inf], (start - 0.5) * unit, [np.inf]])
    if width > 1:
        return Cells(edges=edges, low=edges[:-1], high=edges[1:])
    value = np.round(start[:-1] * unit, decimals)
    inner = (edges[1:-1][[0, -1]]).tolist()
    return Cells(
        edges=edges,
        low=np.concatenate([[-np.inf], value, inner[1:]]),
        high=np.concatenate([inner[:1], value, [np.inf]]),
    )


def padded(edges: Float, cells: int) -> Float:
    """The same edges with empty cells at +infinity, `cells` in all."""
    return np.concatenate([edges, np.full(cells + 1 - edges.size, np.inf)])


def quantiles(counts: Float, cells: Cells, shares: Float) -> Float:
    """Quantiles with linear interpolation (as numpy has them by default), NaN in an open cell.

    Exact where each cell holds one value; elsewhere the rows of a cell are taken as evenly spread.

    Parameters
    ----------
    counts : (cells,).
    shares : (k,), such as 0.5 for the median.
    """
    n = round(float(counts.sum()))
    if n == 0:
        return np.full(shares.size, np.nan)
    place = (n - 1) * shares
    below = np.floor(place)
    first = _ordered(counts, cells, below)
    second = _ordered(counts, cells, np.minimum(below + 1, n - 1))
    result: Float = first + (place - below) * (second - first)
    return result


def _ordered(counts: Float, cells: Cells, index: Float) -> Float:
    """The rows with these numbers (from 0) in increasing order."""
    ends = np.cumsum(counts)
    cell = np.searchsorted(ends, index + 0.5)
    share = (index - (ends - counts)[cell] + 0.5) / counts[cell]
    low, high = cells.low[cell], cells.high[cell]
    closed = np.isfinite(low) & np.isfinite(high)
    value = np.full(index.size, np.nan)
    value[closed] = low[closed] + share[closed] * (high - low)[closed]
    return value
