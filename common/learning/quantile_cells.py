"""Find quantiles from summed histograms by splitting the cells that hold them.

The first histogram has an edge at every power of two, so no column is too skewed for it. Each
further one splits only the cells that matter: those that hold a wanted quantile, and, for rank
tests, those that hold a large share of all rows. Every edge follows from earlier totals by integer
arithmetic on the bits of doubles, without mean, deviation or logarithm, so every machine finds the
same edges.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from common.statistics.base import Float
from common.utils import portable


def probability_quantiles(edges: Float, counts: Float, shares: Float) -> Float:
    """Return quantiles (k, q) of each of k models, assuming rows evenly spread within a cell.

    Parameters
    ----------
    edges : (k, cells + 1), not decreasing; what lies outside 0 to 1 is cut.
    counts : (k, cells), rows in each cell.
    shares : (q,), between 0 and 1.
    """
    quantiles = np.empty((edges.shape[0], shares.size))
    for column, (own, held) in enumerate(zip(np.clip(edges, 0.0, 1.0), counts, strict=True)):
        below = np.concatenate([[0.0], np.cumsum(held)]) / max(float(held.sum()), 1.0)
        quantiles[column] = portable.interpolate(shares, below, own)
    return quantiles


QUARTILES = (0.25, 0.5, 0.75)
# a quantile is published when its error is at most one recorded unit, or this share of q3 - q1
ERROR = 0.01
ROUNDS = 12
# powers of two that are edges of the first histogram, on either side of zero
LOWEST_POWER, HIGHEST_POWER = -40, 50
# cells of recorded values that one histogram may have
MOST_RECORDED = 1024
# no cell but a tie may hold more than this share of all rows when ranks are compared
LARGEST_SHARE = 1.0 / 32.0
# standard deviation that unresolved order within cells may leave in the test statistic z
LARGEST_DOUBT = 0.1
# cells of one column in one histogram
MOST_CELLS = 2048
_QUANTILE_EDGES, _FEWEST_PIECES, _MOST_PIECES = 384, 32, 128
_SMALLEST = math.ulp(0.0)


@dataclass(frozen=True)
class Quantile:
    """Estimate of a quantile of one set of patients, with the largest error it may have.

    Parameters
    ----------
    value : NaN while nothing is known.
    error : 0.0 where the value is exact, infinite while nothing is known.
    rows : patients of the cell that holds it.
    """

    value: float
    error: float
    rows: float = 0.0


NOTHING = Quantile(math.nan, math.inf)


@dataclass(frozen=True)
class Tally:
    """Rows of each set below the edges of one column asked for so far.

    Parameters
    ----------
    edges : (e,), finite and increasing.
    below : (sets, e), rows below each edge.
    total : (sets,), rows with a value.
    decimals : recorded decimals of the column; None where the study does not say.
    """

    edges: Float
    below: Float
    total: Float
    decimals: int | None = None

    @cached_property
    def counts(self) -> Float:
        """Rows per set and cell (sets, e + 1); the end cells are open."""
        return np.diff(self.below, axis=1, prepend=0.0, append=self.total[:, None])

    @cached_property
    def bounds(self) -> Float:
        """Edges of all cells (e + 2,), from -infinity to infinity."""
        return np.concatenate([[-np.inf], self.edges, [np.inf]])

    def with_counts(self, edges: Float, counts: Float) -> Tally:
        """Add a histogram of the same rows.

        Parameters
        ----------
        edges : (cells + 1,), from -infinity to infinity, maybe filled up with infinities.
        counts : (sets, cells).
        """
        inner = np.isfinite(edges[1:-1])
        all_edges = np.concatenate([self.edges, edges[1:-1][inner]])
        upto = np.rint(np.cumsum(counts, axis=1))
        all_below = np.concatenate([self.below, upto[:, :-1][:, inner]], axis=1)
        merged, first = np.unique(all_edges, return_index=True)
        # a few patients of one hospital are in the middle of whatever is asked
        below = np.maximum.accumulate(all_below[:, first], axis=1)
        return Tally(merged, below, upto[:, -1], self.decimals)

    def single(self, cell: int) -> float | None:
        """Return the only value that the rows of a cell can have, None where there are several."""
        return single_value(float(self.bounds[cell]), float(self.bounds[cell + 1]), self.decimals)

    def on(self, edges: Float) -> Float:
        """Return rows per set and cell of `edges` (cells + 1,), a subset of those asked for."""
        place = np.searchsorted(self.edges, edges[1:-1])
        return np.diff(self.below[:, place], axis=1, prepend=0.0, append=self.total[:, None])


def empty_tally(sets: int, decimals: int | None) -> Tally:
    """Return the tally of a column that nothing was asked about."""
    return Tally(np.zeros(0), np.zeros((sets, 0)), np.zeros(sets), decimals)


def first_grid() -> Float:
    """Return edges at the powers of two and their negatives, with a cell for zero alone."""
    powers = [math.ldexp(1.0, k) for k in range(LOWEST_POWER, HIGHEST_POWER + 1)]
    negative = [-power for power in reversed(powers)]
    return np.array([-np.inf, *negative, 0.0, _SMALLEST, *powers, np.inf])


def quartiles_of(tally: Tally, index: int) -> tuple[Quantile, Quantile, Quantile]:
    """Return first quartile, median and third quartile of a set, each with its largest error."""
    low, middle, high = (_quantile(tally, index, share) for share in QUARTILES)
    return low, middle, high


def tolerance(quartiles: Sequence[Quantile], decimals: int | None) -> float:
    """Return the largest error with which these quartiles may be published."""
    low, _, high = quartiles
    spread = (high.value - high.error) - (low.value + low.error)
    unit = 0.0 if decimals is None else 1 / 10**decimals
    return max(unit, ERROR * spread if math.isfinite(spread) else 0.0)


def refined_edges(tally: Tally, wanted: Sequence[int], ranks: bool) -> Float | None:
    """Return the edges to ask for next, None when nothing is left to find.

    Parameters
    ----------
    wanted : sets whose quartiles are wanted.
    ranks : True if rows of all sets will be compared by rank.
    """
    if not tally.edges.size:
        return first_grid()
    open_cells = _unresolved(tally, wanted)
    if tally.decimals is not None and (open_cells or (ranks and _unsorted(tally))):
        recorded = _recorded_edges(tally)
        if recorded is not None:
            return recorded
    heavy = _heavy(tally) if ranks else {}
    pieces = max(_FEWEST_PIECES, _QUANTILE_EDGES // max(len(open_cells), 1))
    split = dict.fromkeys(open_cells, min(pieces, _MOST_PIECES))
    for cell, number in heavy.items():
        split[cell] = max(number, split.get(cell, 0))
    # a piece fewer than edges, and two around the roundest number
    most = MOST_CELLS // max(len(split), 1) - 2
    bounds = tally.bounds
    inner: set[float] = set()
    for cell, number in split.items():
        inner |= _split(float(bounds[cell]), float(bounds[cell + 1]), min(number, most))
    return _fresh(tally, inner)


def single_value(low: float, high: float, decimals: int | None) -> float | None:
    """Return the only value that lies in [low, high), None where there are several."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    if math.nextafter(low, math.inf) >= high:
        return low
    return None if decimals is None else _recorded(low, high, decimals)


def unsorted_cells(edges: Float, counts: Float, decimals: int | None) -> NDArray[np.bool_]:
    """Return which cells hold several rows that may have different values.

    Parameters
    ----------
    edges : (cells + 1,). counts : (sets, cells).
    """
    pooled = counts.sum(axis=0)
    found: NDArray[np.bool_] = pooled > 1.5
    for cell in np.flatnonzero(found):
        value = single_value(float(edges[cell]), float(edges[cell + 1]), decimals)
        found[cell] = value is None
    return found


def doubt(counts: Float, unsorted: NDArray[np.bool_]) -> float:
    """Return the deviation that the unknown order within cells leaves in the z of a rank test.

    In a cell that holds n_g rows of set g, and n in all, the rank sums vary by the sum of
    n_g n_h (n + 1) / 12 over the pairs of sets, if the order is random. They are compared with the
    same sum over all rows (Mann and Whitney 1947). Ties, and rows of one set alone, add nothing.

    Parameters
    ----------
    counts : (sets, cells). unsorted : (cells,), of `unsorted_cells`.
    """
    whole = _spread(counts.sum(axis=1, keepdims=True))
    return math.sqrt(_spread(counts[:, unsorted]) / whole) if whole > 0 else 0.0


def _spread(counts: Float) -> float:
    rows = counts.sum(axis=0)
    return float(((rows**2 - (counts**2).sum(axis=0)) * (rows + 1.0)).sum())


def rank_bounds(tally: Tally) -> Float:
    """Return edges around the cells that hold rows, from -infinity to infinity."""
    held = np.flatnonzero(tally.counts.sum(axis=0) > 0.5)
    kept = sorted({*(held - 1).tolist(), *held.tolist()} & set(range(tally.edges.size)))
    return np.concatenate([[-np.inf], tally.edges[kept], [np.inf]])


def roundest(low: float, high: float) -> float:
    """Return a number in [low, high) with as few decimal digits as possible.

    People write values in decimals, so where many share one value it is most often this one.

    >>> roundest(0.4999, 0.5003), roundest(-12.7, -11.2), roundest(1170.0, 1203.0)
    (0.5, -12.0, 1200.0)
    """
    if low <= 0.0 < high:
        return 0.0
    exponent = Decimal(high - low).adjusted() + 1
    while True:
        step = Fraction(10) ** exponent
        # a double may represent a decimal just beside it
        nearest = math.floor(Fraction(low) / step)
        for multiple in (nearest, nearest + 1):
            exact = multiple * step
            if abs(exact) <= _LARGEST and low <= float(exact) < high:
                return float(exact)
        exponent -= 1


def _quantile(tally: Tally, index: int, share: float) -> Quantile:
    """Interpolate linearly between two patients, as numpy does by default."""
    total = int(tally.total[index])
    if total < 1:
        return NOTHING
    place = (total - 1) * share
    first = _ordered(tally, index, math.floor(place))
    second = _ordered(tally, index, min(math.floor(place) + 1, total - 1))
    part = place - math.floor(place)
    if part == 0.0:
        return first
    value = first.value + part * (second.value - first.value)
    error = (1.0 - part) * first.error + part * second.error
    return Quantile(value, error, min(first.rows, second.rows))


def _cell_of(tally: Tally, index: int, order: int) -> int:
    return int(np.searchsorted(tally.below[index], order + 0.5, side="right"))


def _ordered(tally: Tally, index: int, order: int) -> Quantile:
    """Estimate the patient at this position (from 0) in increasing order, within the data."""
    cell = _cell_of(tally, index, order)
    counts = tally.counts[index]
    rows, upto = float(counts[cell]), float(counts[: cell + 1].sum())
    exact = tally.single(cell)
    if exact is not None:
        return Quantile(exact, 0.0, rows)
    low, high = float(tally.bounds[cell]), float(tally.bounds[cell + 1])
    first, last = upto - rows < 0.5, upto > float(tally.total[index]) - 0.5
    if (first and last) or not (math.isfinite(low) and math.isfinite(high)):
        return NOTHING
    low, high = _reach(low, high, tally.decimals)
    # below the middle of the first cell there may be no patient: its upper end is within the data
    if first:
        return Quantile(high, high - low, rows)
    if last:
        return Quantile(low, high - low, rows)
    middle = low + (high - low) / 2.0
    if tally.decimals is not None:
        recorded = round(Fraction(middle) * 10**tally.decimals) / 10**tally.decimals
        middle = recorded if low <= recorded <= high else middle
    return Quantile(middle, max(middle - low, high - middle), rows)


def _reach(low: float, high: float, decimals: int | None) -> tuple[float, float]:
    """Return lowest and highest value of a cell [low, high), recorded if decimals are known."""
    if decimals is None:
        return low, high
    unit = 10**decimals
    first, last = math.floor(Fraction(low) * unit), math.ceil(Fraction(high) * unit)
    lowest = min((k / unit for k in (first, first + 1) if k / unit >= low), default=high)
    highest = max((k / unit for k in (last - 1, last - 2) if k / unit < high), default=low)
    return (lowest, highest) if lowest <= highest else (low, high)


def _unresolved(tally: Tally, wanted: Sequence[int]) -> list[int]:
    """Return the cells that hold quartiles whose error is still too large."""
    cells: set[int] = set()
    for index in wanted:
        total = int(tally.total[index])
        if total < 1:
            continue
        found = quartiles_of(tally, index)
        allowed = tolerance(found, tally.decimals)
        for share, quantile in zip(QUARTILES, found, strict=True):
            if quantile.error <= allowed:
                continue
            first = math.floor((total - 1) * share)
            for order in (first, min(first + 1, total - 1)):
                cell = _cell_of(tally, index, order)
                if tally.single(cell) is None:
                    cells.add(cell)
    return sorted(cells)


def _unsorted(tally: Tally) -> bool:
    return bool(unsorted_cells(tally.bounds, tally.counts, tally.decimals).any())


def _heavy(tally: Tally) -> Mapping[int, int]:
    """Return pieces for cells with more than their share of all rows, unless they are a tie."""
    pooled = tally.counts.sum(axis=0)
    limit = max(LARGEST_SHARE * float(pooled.sum()), 1.5)
    return {
        int(cell): int(np.clip(math.ceil(4.0 * pooled[cell] / limit), _FEWEST_PIECES, _MOST_PIECES))
        for cell in np.flatnonzero(pooled > limit)
        if tally.single(int(cell)) is None
    }


def _fresh(tally: Tally, inner: Iterable[float]) -> Float | None:
    """Return the edges that have not been asked for, None when there are none."""
    fresh = sorted(set(inner) - set(tally.edges.tolist()))
    return np.array([-np.inf, *fresh, np.inf]) if fresh else None


def _recorded_edges(tally: Tally) -> Float | None:
    """Return edges between all recorded values, None where there would be too many.

    At most one row may lie beyond them on either side: its rank is then known anyway.
    """
    decimals, pooled = tally.decimals or 0, tally.below.sum(axis=0)
    total = float(tally.total.sum())
    under, over = np.flatnonzero(pooled <= 1.5), np.flatnonzero(total - pooled <= 1.5)
    if total < 1 or not under.size or not over.size:
        return None
    low, high = Fraction(float(tally.edges[under[-1]])), Fraction(float(tally.edges[over[0]]))
    first, last = math.floor(low * 10**decimals), math.ceil(high * 10**decimals)
    if last - first + 1 > MOST_RECORDED - 2:
        return None
    return _fresh(tally, ((2 * k - 1) / (2 * 10**decimals) for k in range(first, last + 2)))


def _recorded(low: float, high: float, decimals: int) -> float | None:
    """Return the only recorded value in [low, high), None where there is none or more than one."""
    unit = 10**decimals
    start = math.floor(Fraction(low) * unit)
    if Fraction(high) - Fraction(low) > Fraction(2, unit):
        return None
    values = [k / unit for k in range(start - 1, start + 4)]
    inside = [value for value in values if low <= value < high]
    return inside[0] if len(inside) == 1 else None


def _split(low: float, high: float, pieces: int) -> set[float]:
    """Return inner edges of a cell: even on the bits of doubles, and around its roundest number."""
    start, end = _key(low), _key(high)
    inner = {_number(start + (end - start) * i // pieces) for i in range(1, pieces)}
    bounded = (max(low, -_LARGEST), min(high, _LARGEST))
    if bounded[0] < bounded[1]:
        round_number = roundest(*bounded)
        inner |= {round_number, math.nextafter(round_number, math.inf)}
    return {edge for edge in inner if low < edge < high and math.isfinite(edge)}


_LARGEST = float(np.finfo(np.float64).max)


def _key(number: float) -> int:
    """Return the position of a double among all doubles; 0 for zero."""
    (bits,) = struct.unpack("<q", struct.pack("<d", abs(number)))
    return int(bits) if number >= 0 else -int(bits)


def _number(key: int) -> float:
    (number,) = struct.unpack("<d", struct.pack("<q", abs(key)))
    return float(number) if key >= 0 else -float(number)
