"""Spearman correlation in four rounds: three histograms, then a Gram matrix of global ranks.

Round one counts on `first_edges`, round two on `refine_edges` of the outcome, `merge_cells` joins
cells that are too small, round three shows which of them several sites share, and `RankGram` asks
for the Gram matrix of ranks. The histogram shows a site how many rows of all sites lie below a
cell; its own rows divide the cell by their order.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import scipy

from common.messages.plain import plain
from common.statistics.base import Float, Rows, Sums
from common.statistics.exact import complete, matches, pack, packed_size, unpack
from common.statistics.fold_histogram import Support
from common.statistics.histogram import HistogramResult, cell_of, filled_up
from common.utils import portable

# sizes that attacks were tried on; see `ranks_tell`
FEWEST_ROWS, COLUMNS_PER_ROW = 120.0, 2.0
# above the score of one row among a hundred million: scores stay within one, as ranks do
LARGEST_SCORE = 6.0


def first_edges(p: int, cells: int) -> Float:
    """Return edges (p, cells + 1) of equal probability under N(0, 1), for standardised columns."""
    return np.tile(portable.normal_quantile(np.linspace(0.0, 1.0, cells + 1)), (p, 1))


def refine_edges(histogram: HistogramResult, cells: int) -> Float:
    """Return edges (p, cells + 1) that hold about equal shares of the rows in `histogram`.

    Rows are assumed to be evenly spread within a cell, and an open end cell to reach to
    +-sqrt(n - 1), the furthest that one of n standardised values can lie.
    """
    edges, counts = histogram.edges, histogram.counts
    refined = np.empty((edges.shape[0], cells + 1))
    shares = np.linspace(0.0, 1.0, cells + 1)
    for column in range(edges.shape[0]):
        total = counts[column].sum()
        reach = np.sqrt(max(total - 1.0, 1.0))
        bounded = np.clip(edges[column], -reach, reach)
        below = np.concatenate([[0.0], np.cumsum(counts[column])]) / max(total, 1.0)
        inner = portable.interpolate(shares, below, bounded)
        refined[column] = np.maximum.accumulate(inner)
    refined[:, 0], refined[:, -1] = -np.inf, np.inf
    return refined


def merge_cells(histogram: HistogramResult, minimum: int = 5) -> HistogramResult:
    """Join neighbouring cells, left to right, until each holds `minimum` rows.

    Columns end up with different numbers of cells; short ones are filled with empty cells at
    +infinity. A column with fewer rows than `minimum` becomes one cell.
    """
    p = histogram.counts.shape[0]
    joined: list[tuple[list[float], list[float]]] = []
    for column in range(p):
        right, held = histogram.edges[column, 1:].tolist(), histogram.counts[column].tolist()
        ends: list[float] = []
        sizes: list[float] = []
        running = 0.0
        for end, count in zip(right, held, strict=True):
            running += count
            if running >= minimum:
                ends.append(end)
                sizes.append(running)
                running = 0.0
        if running and sizes:
            sizes[-1] += running
        if not sizes:
            ends, sizes = [np.inf], [running]
        ends[-1] = np.inf
        joined.append((ends, sizes))
    return filled_up(joined)


def ranks_tell(n: float, p: int) -> bool:
    """Return whether a product matrix of the ranks of n rows in p columns may reveal rows.

    Ranks are spread evenly, which is far from normal: with many columns for few rows a search for
    independent components finds rows behind the matrix. Attacks: `tests/attacks`.
    """
    return n < FEWEST_ROWS and p > COLUMNS_PER_ROW * n


@plain
class RankGram:
    """Gram matrix of centred global ranks (2 r - n - 1) / n, over n.

    A row whose value is the q-th of the site's n_c rows in a cell that holds N_c rows of all sites
    gets the rank  below + (q - 1/2) N_c / n_c + 1/2,  with mid-ranks q for ties. One site alone, or
    a cell that holds a single value, gets the exact mid-rank; centred ranks always sum to zero.

    Parameters
    ----------
    edges : (p, cells + 1), from `merge_cells` and `share_cells`.
    counts : (p, cells), rows of all sites in each cell.
    support : evidence that no column is nearly constant; sites refuse without.
    normal : products of normal scores of the ranks instead, which give the rank correlation of
        normal columns; for sizes at which ranks would reveal single rows, see `ranks_tell`.

    Examples
    --------
    >>> values = np.array([[1.0, 9.0], [2.0, 7.0], [3.0, 5.0]])
    >>> rows = Rows(values, ("age", "size"), np.zeros(3), np.zeros(3, int))
    >>> gram = RankGram(edges=np.array([[0.0, 10.0]] * 2), counts=np.array([[3.0]] * 2))
    >>> gram.finalise(gram.from_rows(rows))
    array([[ 1., -1.],
           [-1.,  1.]])
    """

    edges: Float
    counts: Float
    support: Support | None = None
    normal: bool = False

    kind: ClassVar[str] = "rank_gram"
    # entries sum to at most a third, and binning moves correlations by far more than the rounding
    step: ClassVar[dict[str, float]] = {"gram": 2.0**-25}
    bits: ClassVar[dict[str, int]] = {"gram": 32}
    tally: ClassVar[dict[str, str]] = {}
    about: ClassVar[str] = (
        "For every two columns the sum of the products of their ranks: Spearman's correlation."
    )
    attack: ClassVar[str] = (
        "Ranks have bounds of their own, so no extreme value stands out. Where there are fewer"
        " patients than columns, ranks of patients could be searched for as with a covariance."
        " The question tells hospitals how many patients lie in an interval: none or at least"
        " the threshold."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"gram": ("columns * (columns + 1) / 2",)}

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare the upper triangle of a (p, p) matrix."""
        return {"gram": (packed_size(p),)}

    def ranks(self, rows: Rows) -> Float:
        """Return centred global ranks (n, p) of the site's rows.

        Raises
        ------
        ValueError : missing values, or more rows in a cell than all sites together.
        """
        matches(self.edges, rows, "edges")
        values = complete(rows)
        if rows.n == 0:
            return np.zeros(values.shape)
        local = np.asarray(scipy.stats.rankdata(values, axis=0), dtype=np.float64)
        ranks = np.empty(values.shape)
        for column in range(rows.p):
            cell = cell_of(values[:, column], self.edges[column])
            everyone = self.counts[column]
            own = np.bincount(cell, minlength=everyone.size).astype(np.float64)
            if (own > everyone + 0.5).any():
                raise ValueError(f"column {rows.columns[column]} has rows the counts do not know")
            below, own_below = np.cumsum(everyone) - everyone, np.cumsum(own) - own
            place = local[:, column] - own_below[cell] - 0.5
            rank = below[cell] + place * everyone[cell] / own[cell] + 0.5
            total = everyone.sum()
            ranks[:, column] = (2.0 * rank - total - 1.0) / total
        return ranks

    def from_rows(self, rows: Rows) -> Sums:
        """Return the Gram matrix of the site's ranks, or of their normal scores."""
        scores = self.scores(rows)
        total = float(self.counts[0].sum()) if rows.p else 1.0
        return {"gram": pack(scores.T @ scores) / max(total, 1.0)}

    def scores(self, rows: Rows) -> Float:
        """Return what is multiplied, (n, p): ranks, or their normal scores over the largest."""
        ranks = self.ranks(rows)
        if not self.normal:
            return ranks
        return np.asarray(scipy.stats.norm.ppf((ranks + 1.0) / 2.0)) / LARGEST_SCORE

    def finalise(self, sums: Sums) -> Float:
        """Return the Spearman correlation (p, p), zero between a constant column and all others."""
        p = self.edges.shape[0]
        gram = unpack(sums["gram"], p)
        scale = np.sqrt(np.maximum(np.diag(gram), 0.0))
        # rounding of a constant column in fixed point is no variation
        varies = scale > 1e-3
        inverse = np.divide(1.0, scale, out=np.zeros(p), where=varies)
        correlation: Float = np.clip(gram * np.outer(inverse, inverse), -1.0, 1.0)
        if self.normal:
            correlation = 6.0 / portable.PI * portable.arcsin(correlation / 2.0)
        np.fill_diagonal(correlation, 1.0)
        return correlation
