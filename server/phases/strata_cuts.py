"""Where strata are cut in two: the median of the training patients over all sites."""

from __future__ import annotations

import numpy as np

from common.evaluation.recorded import Cells, quantiles
from common.exchanges import SumItem
from common.statistics.base import Float
from common.statistics.histogram import Histogram, HistogramResult
from common.statistics.rank_gram import first_edges
from common.statistics.table1 import GroupResult, GroupSums
from common.strata import is_cut, strata_columns
from common.study import ClinicalColumn
from common.transforms import Select
from common.views import table
from server.federation import Federation

CELLS = 64


def strata_cuts(federation: Federation) -> dict[str, float]:
    """Cut by column, of the strata that need one; two rounds.

    Of a continuous column the median of the training patients, to the decimals that the column has
    or to three digits; it comes from a histogram of 64 cells. Of an ordinal one the median level,
    the last of the lower part.
    """
    columns = tuple(c for c in strata_columns(federation.study) if is_cut(c))
    if not columns:
        return {}
    view = table("coded").then(Select(columns=tuple(c.name for c in columns)))
    moments: GroupResult = federation.sum(GroupSums(centre=np.zeros(len(columns))), view)
    deviation = np.sqrt(moments.squares / np.maximum(moments.n, 1.0))
    edges = np.vstack(
        [
            _edges(column, float(mean), float(sd))
            for column, mean, sd in zip(
                columns, np.nan_to_num(moments.mean), deviation, strict=True
            )
        ]
    )
    (found,) = federation.sum_many([SumItem(Histogram(edges=edges), view, "train")])
    cuts = {column.name: _cut(column, found, i) for i, column in enumerate(columns)}
    return {name: cut for name, cut in cuts.items() if np.isfinite(cut)}


def _edges(column: ClinicalColumn, mean: float, deviation: float) -> Float:
    if column.kind == "ordinal":
        inner = np.arange(1, len(column.levels)) - 0.5
        edges = np.full(CELLS + 1, np.inf)
        edges[0], edges[1 : inner.size + 1] = -np.inf, inner
        return edges
    scale = deviation if deviation > 0 else max(1e-6 * abs(mean), 1e-12)
    return np.asarray(mean + scale * first_edges(1, CELLS)[0])


def _cut(column: ClinicalColumn, found: HistogramResult, index: int) -> float:
    counts, edges = found.counts[index], found.edges[index]
    if counts.sum() < 1:
        return float("nan")
    if column.kind == "ordinal":
        return _median_level(counts[: len(column.levels)])
    middle = float(quantiles(counts, Cells(edges, edges[:-1], edges[1:]), np.array([0.5]))[0])
    if not np.isfinite(middle):
        return float("nan")
    if column.decimals is not None:
        return round(middle, column.decimals)
    return float(f"{middle:.3g}")


def _median_level(counts: Float) -> float:
    """The first level up to which half of the patients are, but not the last that has any."""
    # whole numbers, so that exactly one half is not missed by rounding
    upto = np.cumsum(np.rint(counts))
    median = int(np.argmax(2.0 * upto >= upto[-1]))
    last = int(np.flatnonzero(np.rint(counts))[-1])
    return float(max(min(median, last - 1), 0))
