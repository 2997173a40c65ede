"""Columns counted in cells: refined, rid of ties, and joined until every site may see them.

Ranks and normal scores of all sites' rows follow from such counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.dossier.disclosure import Disclosure, sum_disclosure
from common.learning.normal_scores import knots_of, score_grid
from common.messages.exchanges import SumItem
from common.statistics.base import Float, Int
from common.statistics.capped_histogram import CappedHistogram, cap_for, share_cells
from common.statistics.fold_histogram import Support
from common.statistics.histogram import Histogram, HistogramResult
from common.statistics.rank_gram import merge_cells, refine_edges
from common.study.model import Study
from common.transforms import NormalScores
from common.transforms.views import View
from server.phases.batching import Procedure

Names = tuple[str, ...]
# of the rows; by attacks on columns that are zero for many patients, see tests/attacks
MOST_TIED = 0.1
FEWEST_TIED = 5.0


@dataclass(frozen=True)
class Counted:
    """A standardised view, the evidence that no column is nearly constant, and counts in cells.

    Parameters
    ----------
    view : of p columns.
    support : of the same columns.
    cells : edges and counts of all sites, of the same columns.
    """

    view: View
    support: Support
    cells: HistogramResult

    @property
    def names(self) -> Names:
        """Return the columns."""
        return self.view.outputs()

    def narrow(self, columns: Int) -> Counted:
        """Return the same for fewer columns, given by index."""
        return Counted(
            view=self.view.restrict(tuple(self.names[int(i)] for i in columns)),
            support=self.support.narrow(columns),
            cells=self.cells.narrow(columns),
        )


def histograms(edges: Sequence[Float], views: Sequence[View]) -> list[SumItem]:
    """Ask for counts on edges (p, cells + 1), one table a view."""
    return [
        SumItem(Histogram(edges=own), view, "train") for own, view in zip(edges, views, strict=True)
    ]


def refined(study: Study, tables: Sequence[Counted]) -> Procedure[list[Counted]]:
    """Count the same columns in cells that hold about equal shares of the rows; one round."""
    bins = study.selection.spearman_bins
    edges = [refine_edges(one.cells, bins) for one in tables]
    found = yield histograms(edges, [one.view for one in tables])
    return [_with_cells(one, cells) for one, cells in zip(tables, found, strict=True)]


def without_ties(study: Study, tables: Sequence[Counted]) -> Procedure[list[tuple[Counted, Names]]]:
    """Leave out columns in which many rows have one value, and name them; one round.

    Parameters
    ----------
    tables : in refined cells. Of a long tail these can be so full that they look like ties, so
        ties are looked for in cells that are refined once more.
    """
    finer = yield from refined(study, tables)
    return [untied(study, one, counted.cells) for one, counted in zip(tables, finer, strict=True)]


def untied(study: Study, table: Counted, finer: HistogramResult) -> tuple[Counted, Names]:
    """Leave out columns with a cell that holds too many rows, and name them.

    Ties keep a column from becoming normal, whatever scores it is given: with many such columns
    patients are found behind a matrix of products. A few columns may stay as they are.

    Parameters
    ----------
    finer : counts of the same columns in cells refined twice.
    """
    counts = finer.counts
    if len(table.names) <= study.privacy.max_plain_columns:
        return table, ()
    most = np.maximum(MOST_TIED * counts.sum(axis=1), FEWEST_TIED)
    stays = counts.max(axis=1, initial=0.0) < most + 0.5
    dropped = tuple(name for name, stay in zip(table.names, stays, strict=True) if not stay)
    return (table.narrow(np.flatnonzero(stays)) if dropped else table), dropped


def shared(study: Study, tables: Sequence[Counted]) -> Procedure[list[Counted]]:
    """Join cells until every site may see their counts; one round."""
    privacy = study.privacy
    merged = [merge_cells(one.cells, privacy.min_rank_cell) for one in tables]
    cap = cap_for(privacy.min_rank_others)
    capped = yield [
        SumItem(CappedHistogram(edges=cells.edges, cap=cap), one.view, "train")
        for one, cells in zip(tables, merged, strict=True)
    ]
    return [
        _with_cells(one, share_cells(cells, own, privacy.min_rank_others))
        for one, cells, own in zip(tables, merged, capped, strict=True)
    ]


def _with_cells(table: Counted, cells: HistogramResult) -> Counted:
    return dataclasses.replace(table, cells=cells)


def rank_cells_asks(
    study: Study, width: int, tables: int, histograms: int = 2
) -> tuple[Disclosure, ...]:
    """Declare rounds of histograms in fine cells, and the one that decides which are joined."""
    edges = np.zeros((width, study.selection.spearman_bins + 1))
    return (
        sum_disclosure(study, Histogram(edges=edges), width, tables=tables, rounds=histograms),
        sum_disclosure(study, CappedHistogram(edges=edges, cap=1), width, tables=tables),
    )


def lay_scores(study: Study, table: Counted) -> Counted:
    """Put normal scores in place of the values, and move the evidence to their units.

    Parameters
    ----------
    table : in cells that every site may see.
    """
    limit = study.selection.clip
    knots = knots_of(table.cells, limit)
    step = NormalScores(columns=table.names, knots=knots, scores=score_grid(limit))
    support = table.support
    low, high = step.of(support.low[None])[0], step.of(support.high[None])[0]
    # outside the knots values become one: a cell that ends there takes in all of them
    low = np.where(low <= -limit, -np.inf, low)
    high = np.where(high >= limit, np.inf, np.maximum(high, np.nextafter(-limit, np.inf)))
    moved = Support(low=low, high=high, apart=support.apart)
    return Counted(view=table.view.then(step), support=moved, cells=table.cells)
