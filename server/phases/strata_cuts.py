"""Where strata are cut in two: the median of the training patients over all sites."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from common.learning.quantile_cells import Quantile, Tally, roundest
from common.messages.exchanges import SumItem
from common.statistics.base import Float
from common.statistics.histogram import Histogram, HistogramResult
from common.statistics.table1 import JoinedHistogram
from common.study.model import ClinicalColumn
from common.study.strata import is_cut, strata_columns
from common.transforms import Select
from common.transforms.views import table
from server.federation.batching import Procedure, in_lockstep
from server.federation.federation import Federation
from server.phases.quartiles import ColumnFindings, CountedSet, find_quartiles

# a cut is rounded by at most this share of the distance between the quartiles
ROUNDING = 0.05
FEWEST_DIGITS, MOST_DIGITS = 3, 17


def strata_cuts(federation: Federation) -> dict[str, float]:
    """Cut by column, of the strata that need one; mostly two rounds.

    Of a continuous column the median of the training patients, to the decimals that the column has
    or to as few digits as keep it in its place, three at least. Of an ordinal one the median level,
    the last of the lower part.
    """
    columns = tuple(c for c in strata_columns(federation.study) if is_cut(c))
    continuous = tuple(c for c in columns if c.kind == "continuous")
    ordinal = tuple(c for c in columns if c.kind != "continuous")
    cuts: dict[str, float] = {}
    for found in in_lockstep(
        federation, _medians(federation, continuous), _median_levels(federation, ordinal)
    ):
        cuts |= found
    return {c.name: cuts[c.name] for c in columns if np.isfinite(cuts[c.name])}


def _medians(
    federation: Federation, columns: tuple[ClinicalColumn, ...]
) -> Procedure[dict[str, float]]:
    if not columns:
        return {}
    train, privacy = _training_set(federation), federation.study.privacy
    findings = yield from find_quartiles(columns, [train], privacy, ranks=False)
    return {
        column.name: _cut(own, column.decimals)
        for column, own in zip(columns, findings, strict=True)
    }


def _median_levels(
    federation: Federation, columns: tuple[ClinicalColumn, ...]
) -> Procedure[dict[str, float]]:
    if not columns:
        return {}
    view = table("coded").then(Select(columns=tuple(c.name for c in columns)))
    most = max(len(column.levels) for column in columns)
    inner = np.arange(1, most) - 0.5
    edges = np.tile([-np.inf, *inner.tolist(), np.inf], (len(columns), 1))
    train, minimum = _training_set(federation), federation.study.privacy.min_cell
    statistic = JoinedHistogram(edges, minimum) if train.joined else Histogram(edges)
    (found,) = yield [SumItem(statistic, view, "train")]
    counted: HistogramResult = found
    return {
        column.name: _median_level(own[: len(column.levels)])
        for column, own in zip(columns, counted.counts, strict=True)
    }


def _training_set(federation: Federation) -> CountedSet:
    hospitals = len(federation.sites_with("train"))
    joined = hospitals == 1 and federation.study.privacy.min_cell > 1
    return CountedSet(name="train", hospitals=hospitals, joined=joined)


def _cut(found: ColumnFindings, decimals: int | None) -> float:
    """The median, rounded; NaN where it is not known.

    Where no patient lies above the median, as with an upper limit of detection, the cut is put
    below the patients who share it.
    """
    low, middle, high = found.quartiles[0]
    if not math.isfinite(middle.value):
        return math.nan
    spread = high.value - low.value if math.isfinite(high.value - low.value) else 0.0
    tally = found.tally
    for cut in rounded_cuts(middle, spread, decimals):
        below, above = _parts(tally, cut)
        # a hospital that holds the set alone tells the quartiles, and no more than joined cells
        if found.sets[0].joined or (below > 0.5 and above > 0.5):
            return cut
    lower = _below_the_highest(tally)
    return middle.value if lower is None else lower


def rounded_cuts(median: Quantile, spread: float, decimals: int | None) -> Iterator[float]:
    """A median with more and more digits, of those that move it by at most 5 % of `spread`.

    A value that several patients share is kept: they belong to the lower part.

    >>> next(rounded_cuts(Quantile(61.23456, 0.1), 12.0, None))
    61.2
    >>> next(rounded_cuts(Quantile(1e9 + 0.1234, 0.01), 2.0, None))
    1000000000.1
    """
    if decimals is not None:
        yield round(median.value, decimals)
    shared = median.error == 0.0 and median.rows > 1.5
    allowed = 0.0 if shared else ROUNDING * spread
    for digits in range(FEWEST_DIGITS, MOST_DIGITS):
        rounded = float(f"{median.value:.{digits}g}")
        if abs(rounded - median.value) <= allowed:
            yield rounded


def _parts(tally: Tally, cut: float) -> tuple[float, float]:
    """Patients who are known to lie up to a cut, and above it."""
    cell = int(np.searchsorted(tally.edges, cut, side="right"))
    ends = np.concatenate([[0.0], tally.below[0], tally.total[:1]])
    value = tally.single(cell)
    if value is None:
        return float(ends[cell]), float(ends[-1] - ends[cell + 1])
    upto = ends[cell + 1] if value <= cut else ends[cell]
    return float(upto), float(ends[-1] - upto)


def _below_the_highest(tally: Tally) -> float | None:
    """Return a cut between the patients of the highest cell and others, None without others."""
    below, edges = tally.below[0], tally.edges
    held = np.flatnonzero(below < tally.total[0] - 0.5)
    if not held.size or below[held[-1]] < 0.5:
        return None
    last = int(held[-1])
    # the lowest edge that has all the others below it, or the last one that has some
    first = int(np.searchsorted(below, below[last] - 0.5))
    first = last - 1 if first == last else first
    if first < 0 or below[first] < 0.5:
        return None
    return roundest(float(edges[first]), float(edges[last]))


def _median_level(counts: Float) -> float:
    """The first level up to which half of the patients are, but not the last that has any."""
    if counts.sum() < 0.5:
        return math.nan
    # whole numbers, so that exactly one half is not missed by rounding
    upto = np.cumsum(np.rint(counts))
    median = int(np.argmax(2.0 * upto >= upto[-1]))
    last = int(np.flatnonzero(np.rint(counts))[-1])
    return float(max(min(median, last - 1), 0))
