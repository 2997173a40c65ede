"""DeLong's structural components over several sites.

A site compares its own positives and negatives exactly and meets those of other sites in a
histogram by class, where two scores of the same cell count as a tie.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from common.plain import plain
from common.statistics.base import Float, Rows, Sums
from common.statistics.histogram import cell_counts, cell_of
from common.statistics.packing import complete, matches, pack, packed_size, unpack


@plain
class ClassHistogramResult:
    """Edges (cells + 1,) and counts (k, 2, cells): per column the negatives, then the positives."""

    edges: Float
    counts: Float


@plain
class ClassHistogram:
    """Scores of each class per cell, for every column (one a model).

    Parameters
    ----------
    edges : (cells + 1,), the same for all columns; end cells reach to infinity.
    """

    edges: Float

    rule: ClassVar[str] = "score_histogram"
    step: ClassVar[dict[str, float]] = {"counts": 0.5}

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Columns by two classes by cells."""
        return {"counts": (p, 2, self.edges.size - 1)}

    def from_rows(self, rows: Rows) -> Sums:
        """Counts of the site; ValueError on missing scores."""
        return {"counts": _by_class(complete(rows), rows.label > 0.5, self.edges)}

    def finalise(self, sums: Sums) -> ClassHistogramResult:
        """Counts over all sites."""
        return ClassHistogramResult(edges=self.edges, counts=sums["counts"])


def _by_class(scores: Float, positive: NDArray[np.bool_], edges: Float) -> Float:
    counts = np.zeros((scores.shape[1], 2, edges.size - 1))
    for column in range(scores.shape[1]):
        for label in (0, 1):
            counts[column, label] = cell_counts(scores[positive == bool(label), column], edges)
    return counts


@plain
class DeLongResult:
    """Rows, positives, areas under the curve (k,) and their covariance (k, k).

    The area is NaN without both classes, the covariance without two rows of each.
    """

    n: int
    positives: int
    auc: Float
    covariance: Float


@plain
class Placements:
    """Sums of placement values V10 (positives), V01 (negatives) and of their products.

    DeLong, DeLong and Clarke-Pearson 1988, equations 3 to 6. With one site alone the result is the
    classical one, exactly.

    Parameters
    ----------
    edges : (cells + 1,).
    counts : (k, 2, cells), the outcome of `ClassHistogram` on the same rows.
    """

    edges: Float
    counts: Float

    rule: ClassVar[str] = "scores"
    step: ClassVar[dict[str, float]] = {
        "rows": 0.5,
        "v10": 2.0**-40,
        "v01": 2.0**-40,
        "v10_products": 2.0**-40,
        "v01_products": 2.0**-40,
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Negatives and positives, two vectors of length p and two packed (p, p) matrices."""
        size = packed_size(p)
        return {
            "rows": (2,),
            "v10": (p,),
            "v01": (p,),
            "v10_products": (size,),
            "v01_products": (size,),
        }

    def from_rows(self, rows: Rows) -> Sums:
        """Sums of the site.

        Raises
        ------
        ValueError : missing scores, or rows that the counts do not know.
        """
        matches(self.counts, rows, "counts")
        scores, positive = complete(rows), rows.label > 0.5
        others = self.counts - _by_class(scores, positive, self.edges)
        if (others < -0.5).any():
            raise ValueError("the site has scores that the class-wise counts do not know")
        n_negative, n_positive = self.counts[0].sum(axis=1) if rows.p else (0.0, 0.0)
        v10 = np.zeros((int(positive.sum()), rows.p))
        v01 = np.zeros((int((~positive).sum()), rows.p))
        for column in range(rows.p):
            high, low = scores[positive, column], scores[~positive, column]
            wins = _below(high, low) + _cells_below(high, self.edges, others[column, 0])
            losses = _below(low, high) + _cells_below(low, self.edges, others[column, 1])
            v10[:, column] = wins / max(n_negative, 1.0)
            v01[:, column] = 1.0 - losses / max(n_positive, 1.0)
        return {
            "rows": np.array([float(v01.shape[0]), float(v10.shape[0])]),
            "v10": v10.sum(axis=0),
            "v01": v01.sum(axis=0),
            "v10_products": pack(v10.T @ v10),
            "v01_products": pack(v01.T @ v01),
        }

    def finalise(self, sums: Sums) -> DeLongResult:
        """Areas and covariance over all sites."""
        negatives, positives = float(sums["rows"][0]), float(sums["rows"][1])
        k = sums["v10"].size
        return delong_from_sums(
            negatives=negatives,
            positives=positives,
            v10=sums["v10"],
            v01=sums["v01"],
            v10_products=unpack(sums["v10_products"], k),
            v01_products=unpack(sums["v01_products"], k),
        )


def delong_from_sums(
    *,
    negatives: float,
    positives: float,
    v10: Float,
    v01: Float,
    v10_products: Float,
    v01_products: Float,
) -> DeLongResult:
    """Areas and covariance from sums of placements (k,) and of their products (k, k)."""
    k = v10.size
    rows, cases = round(negatives + positives), round(positives)
    if min(negatives, positives) < 1:
        nothing = np.full((k, k), np.nan)
        return DeLongResult(n=rows, positives=cases, auc=nothing[0].copy(), covariance=nothing)
    auc, mirror = v10 / positives, v01 / negatives
    covariance = np.full((k, k), np.nan)
    if min(negatives, positives) >= 2:
        s10 = (v10_products - positives * np.outer(auc, auc)) / (positives - 1.0)
        s01 = (v01_products - negatives * np.outer(mirror, mirror)) / (negatives - 1.0)
        covariance = s10 / positives + s01 / negatives
    return DeLongResult(n=rows, positives=cases, auc=auc, covariance=covariance)


def _below(scores: Float, reference: Float) -> Float:
    """How many reference scores lie below each score, ties as one half."""
    ordered = np.sort(reference)
    left = np.searchsorted(ordered, scores, side="left")
    right = np.searchsorted(ordered, scores, side="right")
    return 0.5 * (left + right).astype(np.float64)


def _cells_below(scores: Float, edges: Float, counts: Float) -> Float:
    """The same for scores known only by cell."""
    middle = np.cumsum(counts) - 0.5 * counts
    return middle[cell_of(scores, edges)]
