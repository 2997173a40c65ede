"""Median and quartiles of skewed columns, and the counts for their rank tests, from histograms.

A set over several hospitals is counted in cells that are split until the quartiles are known, in at
most 12 rounds; most columns take two. Of a set that one hospital holds alone only joined cells may
leave it: the hospital computes the quartiles itself, and its joined cells serve the rank test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.dossier.disclosure import Disclosure, sum_disclosure
from common.learning.quantile_cells import (
    LARGEST_DOUBT,
    MOST_CELLS,
    NOTHING,
    ROUNDS,
    Quantile,
    Tally,
    doubt,
    empty_tally,
    quartiles_of,
    rank_bounds,
    refined_edges,
    tolerance,
    unsorted_cells,
)
from common.messages.exchanges import SumItem
from common.statistics.base import Float
from common.statistics.histogram import Histogram
from common.statistics.site_quartiles import UNKNOWN_DECIMALS, SiteQuartiles
from common.statistics.table1 import JoinedHistogram
from common.study.model import ClinicalColumn, PrivacySettings, Study
from common.transforms import Select
from common.transforms.views import View, table
from server.phases.batching import Procedure
from server.phases.protocol import UNREAD, any_unread

Columns = Sequence[ClinicalColumn]
Three = tuple[Quantile, Quantile, Quantile]

NOT_REACHED = f"not within 1 % of the middle half after {ROUNDS} rounds"
UNMASKED = "sums over fewer than three hospitals are not masked; declare the column's decimals"
FEW = "too few values at the one hospital that holds the set"
UNORDERED = "the order of too many patients is not known"


@dataclass(frozen=True)
class CountedSet:
    """A set of patients, and how it may be counted.

    Parameters
    ----------
    hospitals : how many hold it.
    joined : small cells are joined before they leave a hospital.
    """

    name: str
    hospitals: int
    joined: bool

    @staticmethod
    def of(study: Study, name: str, *, recorded: bool = True) -> CountedSet:
        """Join small cells where a site's part of the set can be seen.

        Parameters
        ----------
        recorded : the decimals of the columns are declared, so that their values may be counted
            one by one.
        """
        hospitals = len(study.members(name))
        seen = hospitals == 1 or not (recorded or study.masked(name))
        return CountedSet(name, hospitals, joined=seen and study.privacy.min_cell > 1)

    @property
    def alone(self) -> bool:
        """Tell whether one hospital holds it, which can compute the quartiles itself."""
        return self.joined and self.hospitals == 1


@dataclass(frozen=True)
class ColumnFindings:
    """Quartiles and counts of one column.

    Parameters
    ----------
    quartiles : of each set; a value that is withheld is NaN.
    notes : of each set, why something is withheld, or nothing.
    bounds : (cells + 1,). counts : (sets, cells).
    usable : (sets,), whether a set's counts are fine enough for a rank test.
    tally : all that was counted.
    """

    sets: tuple[CountedSet, ...]
    quartiles: tuple[Three, ...]
    notes: tuple[str, ...]
    bounds: Float
    counts: Float
    usable: NDArray[np.bool_]
    tally: Tally

    def unsorted(self, used: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Find cells (True) in which these sets (True = used) have several values."""
        return unsorted_cells(self.bounds, self.counts[used], self.tally.decimals)

    def comparable(self, used: NDArray[np.bool_]) -> bool:
        """Tell whether the order of the rows of these sets (True = used) is known well enough."""
        return doubt(self.counts[used], self.unsorted(used)) <= LARGEST_DOUBT


def find_quartiles(
    columns: Columns, sets: Sequence[CountedSet], privacy: PrivacySettings, *, ranks: bool
) -> Procedure[list[ColumnFindings]]:
    """Ask for histograms until the quartiles of every column and set are known.

    Parameters
    ----------
    ranks : whether the sets are to be compared by rank.
    """
    # where every set is joined, the first still shows which cells are worth splitting
    givers = [i for i, one in enumerate(sets) if not one.joined] or [0]
    tallies, at_site = yield from _split_cells(columns, sets, givers, privacy, ranks=ranks)
    bounds = [rank_bounds(tally) for tally in tallies]
    joined: dict[int, Any] = {}
    if ranks and any(one.joined for one in sets):
        last = [i for i, one in enumerate(sets) if one.joined]
        grid, view = _stacked(bounds), _view(columns)
        results = yield [_counted(sets[i], grid, view, privacy) for i in last]
        if any_unread(results):
            return []
        joined = dict(zip(last, results, strict=True))
    found = []
    for i, (tally, own) in enumerate(zip(tallies, bounds, strict=True)):
        shown = [
            _quartiles(tally, one, givers, position, at_site.get((position, i)))
            for position, one in enumerate(sets)
        ]
        counts = _counts(tally, own, givers, {k: v.counts[i] for k, v in joined.items()})
        found.append(
            ColumnFindings(
                sets=tuple(sets),
                quartiles=tuple(three for three, _ in shown),
                notes=tuple(note for _, note in shown),
                bounds=own,
                counts=counts,
                usable=_usable(sets, counts, privacy),
                tally=tally,
            )
        )
    return found


def _split_cells(
    columns: Columns,
    sets: Sequence[CountedSet],
    givers: Sequence[int],
    privacy: PrivacySettings,
    *,
    ranks: bool,
) -> Procedure[tuple[list[Tally], dict[tuple[int, int], Float]]]:
    """Return what was counted of each column, and quartiles by set and column from single sites.

    Parameters
    ----------
    givers : positions of the sets whose cells are split.
    """
    tallies = [empty_tally(len(givers), column.decimals) for column in columns]
    own = [i for i, one in enumerate(sets) if one.alone]
    extra = [_site_quartiles(columns, sets[i], privacy) for i in own]
    at_site: dict[tuple[int, int], Float] = {}
    for _ in range(ROUNDS):
        edges = _wanted_edges(tallies, privacy, ranks=ranks)
        if not edges:
            break
        view, grid = _view([columns[i] for i in edges]), _stacked(list(edges.values()))
        items = [_counted(sets[i], grid, view, privacy) for i in givers]
        results = yield [*items, *extra]
        for position, result in zip(own, results[len(items) :], strict=False):
            if result is not UNREAD:
                at_site |= {(position, i): three for i, three in enumerate(result.quartiles)}
        extra = []
        for place, i in enumerate(edges):
            counts = np.array([result.counts[place] for result in results[: len(items)]])
            tallies[i] = tallies[i].with_counts(grid[place], counts)
    return tallies, at_site


def _wanted_edges(
    tallies: Sequence[Tally], privacy: PrivacySettings, *, ranks: bool
) -> dict[int, Float]:
    """Choose edges to ask for next, by column; small sets are not looked at closer."""
    wanted: dict[int, Float] = {}
    for index, tally in enumerate(tallies):
        large = np.flatnonzero(tally.total >= max(privacy.min_rows, 1)).tolist()
        edges = refined_edges(tally, large, ranks)
        if edges is not None:
            wanted[index] = edges
    return wanted


def _view(columns: Columns) -> View:
    return table("coded").then(Select(columns=tuple(column.name for column in columns)))


def _stacked(edges: Sequence[Float]) -> Float:
    """Stack edges in one table; short columns end in empty cells at infinity."""
    width = max(own.size for own in edges)
    return np.array([np.append(own, np.full(width - own.size, np.inf)) for own in edges])


def _counted(one: CountedSet, edges: Float, view: View, privacy: PrivacySettings) -> SumItem:
    if one.joined:
        return SumItem(JoinedHistogram(edges=edges, minimum=privacy.min_cell), view, one.name)
    return SumItem(Histogram(edges=edges), view, one.name)


def _site_quartiles(columns: Columns, one: CountedSet, privacy: PrivacySettings) -> SumItem:
    known = [UNKNOWN_DECIMALS if c.decimals is None else c.decimals for c in columns]
    return SumItem(_of_site(known, privacy), _view(columns), one.name)


def _of_site(decimals: Sequence[int], privacy: PrivacySettings) -> SiteQuartiles:
    known = np.array(decimals, dtype=np.int64)
    return SiteQuartiles(decimals=known, fewest=privacy.min_rows, minimum=privacy.min_cell)


def _quartiles(
    tally: Tally, one: CountedSet, givers: Sequence[int], position: int, at_site: Float | None
) -> tuple[Three, str]:
    """Return the quartiles of a set that may be shown, and why others are not."""
    if at_site is not None:
        three = tuple(Quantile(float(value), 0.0) for value in at_site)
        return (three[0], three[1], three[2]), "" if np.isfinite(at_site).all() else FEW
    if one.joined:
        return (NOTHING, NOTHING, NOTHING), UNMASKED
    index = givers.index(position)
    if tally.total[index] < 1:
        return (NOTHING, NOTHING, NOTHING), ""
    found = quartiles_of(tally, index)
    allowed = tolerance(found, tally.decimals)
    low, middle, high = (own if own.error <= allowed else NOTHING for own in found)
    note = NOT_REACHED if any(own is NOTHING for own in (low, middle, high)) else ""
    return (low, middle, high), note


def _counts(
    tally: Tally, bounds: Float, givers: Sequence[int], joined: Mapping[int, Float]
) -> Float:
    """Count rows per set and cell between `bounds`, of the sets in their order."""
    cells = bounds.size - 1
    by_set = dict(zip(givers, tally.on(bounds), strict=True))
    by_set |= {position: counts[:cells] for position, counts in joined.items()}
    return np.array([by_set[position] for position in sorted(by_set)])


def _usable(
    sets: Sequence[CountedSet], counts: Float, privacy: PrivacySettings
) -> NDArray[np.bool_]:
    """Find sets with small joins: m of n rows in each leave z in doubt by about m / n."""
    rows = np.maximum(counts.sum(axis=1), 1.0)
    joined = np.array([one.hospitals * privacy.min_cell * one.joined for one in sets])
    return np.asarray(joined[: rows.size] <= LARGEST_DOUBT * rows)


def quartiles_asks(
    study: Study, columns: int, one: CountedSet, rounds: int
) -> Iterator[Disclosure]:
    """Declare what `find_quartiles` asks of one set.

    Parameters
    ----------
    rounds : of a set whose small cells are joined; the first set shows which cells to split.
    """
    edges, privacy = np.zeros((columns, MOST_CELLS + 1)), study.privacy
    if not one.joined:
        yield sum_disclosure(study, Histogram(edges=edges), columns, one.name, rounds=ROUNDS)
        return
    if one.alone:
        yield sum_disclosure(study, _of_site([0] * columns, privacy), columns, one.name)
    joined = JoinedHistogram(edges=edges, minimum=privacy.min_cell)
    yield sum_disclosure(study, joined, columns, one.name, rounds=rounds)
