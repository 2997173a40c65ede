"""The Spearman filter over sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.dossier.disclosure import Disclosure, sum_disclosure
from common.messages.exchanges import SumItem
from common.statistics.base import Float, Int
from common.statistics.rank_gram import RankGram, first_edges, ranks_tell
from common.study.model import Study
from common.transforms.base import positions
from common.transforms.views import View
from server.phases.batching import Procedure
from server.phases.near_zero_variance import fold_histograms, frequent, split, variance_asks
from server.phases.rank_cells import (
    Counted,
    histograms,
    rank_cells_asks,
    refined,
    shared,
    without_ties,
)

Names = tuple[str, ...]
NORMAL_NOTE = "few patients: rank correlations come from normal scores, as ranks could reveal them"


@dataclass(frozen=True)
class Filtered:
    """Rest of a standardised view, and the columns dropped before correlations.

    Parameters
    ----------
    table : columns kept.
    rare : columns in which too few rows differ from the others.
    tied : columns in which too many rows have one value.
    note : for the report; empty if there is nothing to say.
    correlation : (p, p) of the columns kept.
    """

    table: Counted
    rare: Names
    tied: Names
    note: str
    correlation: Float

    @property
    def names(self) -> Names:
        """Return the columns kept."""
        return self.table.names

    def correlation_of(self, wanted: Names) -> dict[str, Any]:
        """Return the matrix of the columns that a model uses; nothing is asked for it."""
        at = positions(self.names, tuple(name for name in self.names if name in set(wanted)))
        return {
            "names": tuple(self.names[i] for i in at),
            "values": tuple(map(tuple, self.correlation[np.ix_(at, at)].tolist())),
            "method": "Spearman, over the training patients of all sites",
            "n": round(float(self.table.cells.counts[0].sum())) if at.size else None,
        }


def spearman_filter(
    study: Study, views: Sequence[View], *, drop_tied: bool = False
) -> Procedure[list[Filtered]]:
    """Delete columns greedily at the study's Spearman threshold; five rounds.

    Nearly constant columns go first: they may enter no matrix of products.

    Parameters
    ----------
    views : standardised.
    drop_tied : leave out columns in which many rows have one value, too.
    """
    bins = study.selection.spearman_bins
    found = yield [
        *fold_histograms(study, views),
        *histograms([first_edges(len(view.outputs()), bins) for view in views], views),
    ]
    tables, rare = [], []
    for view, counts, cells in zip(views, found[: len(views)], found[len(views) :], strict=True):
        support = counts.support()
        stays = frequent(study, support)
        rare.append(split(view.outputs(), stays)[1])
        tables.append(Counted(view, support, cells).narrow(np.flatnonzero(stays)))
    tables = yield from refined(study, tables)
    parts: list[tuple[Counted, Names]] = [(one, ()) for one in tables]
    if drop_tied:
        parts = yield from without_ties(study, tables)
    tables = yield from shared(study, [one for one, _ in parts])
    grams = [_gram(study, one) for one in tables]
    correlations = yield [
        SumItem(gram, one.view, "train") for one, gram in zip(tables, grams, strict=True)
    ]
    filtered = []
    for one, few, (_, tied), gram, correlation in zip(
        tables, rare, parts, grams, correlations, strict=True
    ):
        chosen = greedy_filter(correlation, one.names, study.selection.spearman_threshold)
        note = NORMAL_NOTE if gram.normal else ""
        kept = np.sort(chosen)
        own = correlation[np.ix_(kept, kept)]
        filtered.append(Filtered(one.narrow(kept), few, tied, note, own))
    return filtered


def _gram(study: Study, table: Counted) -> RankGram:
    """Ask for ranks themselves only where these give no patient away."""
    cells = table.cells
    rows = float(cells.counts[0].sum())
    normal = study.privacy.mode == "guarded" and ranks_tell(rows, len(table.names))
    return RankGram(edges=cells.edges, counts=cells.counts, support=table.support, normal=normal)


def spearman_asks(study: Study, width: int, tables: int) -> tuple[Disclosure, ...]:
    """Declare what `spearman_filter` asks for; of ties, it counts in finer cells."""
    bins = study.selection.spearman_bins
    gram = RankGram(edges=np.zeros((width, bins + 1)), counts=np.zeros((width, bins)))
    return (
        variance_asks(study, width, tables),
        *rank_cells_asks(study, width, tables, histograms=3),
        sum_disclosure(study, gram, width, tables=tables),
    )


def greedy_filter(correlation: Float, names: Sequence[str], threshold: float) -> Int:
    """Return the indices of the columns kept, increasing.

    Forward-count form: for every remaining column count the remaining columns *after it* in table
    order whose absolute correlation exceeds the threshold; remove the column with the highest
    count, of equal ones the first by name; count again; stop when no pair exceeds the threshold.
    Counting forward only is more stable than counting both ways when correlations come from binned
    ranks.

    Parameters
    ----------
    correlation : (p, p), symmetric.
    names : the p column names, in table order.
    threshold : a pair is redundant above it, not at it.

    Raises
    ------
    ValueError : sizes that do not match.
    """
    p = len(names)
    if correlation.shape != (p, p):
        raise ValueError(f"correlation is {correlation.shape} for {p} names")
    redundant = np.triu(np.abs(correlation) > threshold, 1)
    count = redundant.sum(axis=1)
    rank = np.empty(p, dtype=np.int64)
    rank[sorted(range(p), key=lambda index: names[index])] = np.arange(p)
    alive = np.ones(p, dtype=np.bool_)
    while p and count.max() > 0:
        most = np.flatnonzero(count == count.max())
        worst = int(most[np.argmin(rank[most])])
        alive[worst] = False
        count[redundant[:, worst] & alive] -= 1
        count[worst] = 0
    return np.flatnonzero(alive).astype(np.int64)
