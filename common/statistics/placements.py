"""DeLong's structural components over several sites.

A site compares its own positives and negatives exactly, and with those of other sites through
histograms of each class. Two scores of one cell count as a tie in the components; the area itself
is corrected for the position of each score in its cell.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from common.messages.limits import Limits, Patients, shares
from common.messages.plain import plain
from common.statistics.base import Float, Rows, Sums
from common.statistics.class_histogram import ClassCells
from common.statistics.exact import complete, matches, pack, packed_size, unpack
from common.statistics.histogram import cell_counts, cell_of


@plain
class DeLongResult:
    """Rows, positives, areas under the curve (k,) and their covariance (k, k).

    The area is NaN without both classes, the covariance without two rows of each.
    """

    n: Patients
    positives: Patients
    auc: Annotated[Float, shares("models", unknown=True)]
    covariance: Annotated[Float, Limits(("models", "models"), unknown=True)]


@plain
class Placements:
    """Sums of placement values V10 (positives), V01 (negatives), their products, and wins.

    DeLong, DeLong and Clarke-Pearson 1988, equations 3 to 6. With one site alone the result is
    exactly the classical one.

    The area counts the wins of positives over negatives. Pairs within a site are known. For pairs
    of two sites let F(x) be the share of negatives that a positive x exceeds when the negatives of
    each cell are evenly spread over it, G(y) the share of positives below a negative y likewise,
    and H the share of wins when both are spread; then mean F(x) + mean(1 - G(y)) - H is the Hajek
    projection of the area given the cells, and errs only where both classes are unevenly spread.
    A score in a cell of a single value stands at the middle of that cell, as a tie.

    Parameters
    ----------
    edges, single : (k, cells + 1) and (k, cells), of the `ClassHistogramResult` of the same rows.
    negatives, positives : its two classes, from `merge_class`.

    Examples
    --------
    >>> from common.statistics.class_histogram import ClassHistogram, merge_class
    >>> scores, label = np.array([[0.1], [0.6], [0.4], [0.9]]), np.array([0.0, 0.0, 1.0, 1.0])
    >>> rows = Rows(scores, ("model",), label, np.zeros(4, int))
    >>> counting = ClassHistogram(edges=np.array([[0.0, 0.5, 1.0]]))
    >>> found = counting.finalise(counting.from_rows(rows))
    >>> classes = merge_class(found, 0, 1), merge_class(found, 1, 1)
    >>> placements = Placements(found.edges, found.single, *classes)
    >>> placements.finalise(placements.from_rows(rows)).auc
    array([0.75])
    """

    edges: Float
    single: Float
    negatives: ClassCells
    positives: ClassCells

    final: ClassVar[bool] = True
    kind: ClassVar[str] = "placements"
    step: ClassVar[dict[str, float]] = {
        "rows": 0.5,
        "area": 2.0**-40,
        "v10": 2.0**-40,
        "v01": 2.0**-40,
        "v10_products": 2.0**-40,
        "v01_products": 2.0**-40,
    }
    tally: ClassVar[dict[str, str]] = {"rows": "rows by class"}
    about: ClassVar[str] = (
        "For each model, how its scores rank patients with the endpoint above those without:"
        " area under the curve and its error."
    )
    attack: ClassVar[str] = (
        "Totals of ranks tell nothing of one patient. The question tells hospitals how many"
        " patients of all lie in an interval of the score: none or at least the threshold."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "rows": ("2",),
        "area": ("models",),
        "v10": ("models",),
        "v01": ("models",),
        "v10_products": ("models * (models + 1) / 2",),
        "v01_products": ("models * (models + 1) / 2",),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare two counts, three vectors of length p and two packed (p, p) matrices."""
        size = packed_size(p)
        return {
            "rows": (2,),
            "area": (p,),
            "v10": (p,),
            "v01": (p,),
            "v10_products": (size,),
            "v01_products": (size,),
        }

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's sums.

        Raises
        ------
        ValueError : missing scores, or rows that are not among those counted.
        """
        for name in ("edges", "single"):
            matches(getattr(self, name), rows, name)
        scores, positive = complete(rows), rows.label > 0.5
        area = np.zeros(rows.p)
        v10 = np.zeros((int(positive.sum()), rows.p))
        v01 = np.zeros((int((~positive).sum()), rows.p))
        for column in range(rows.p):
            high, low = scores[positive, column], scores[~positive, column]
            negatives = _Others(self.negatives, column, low)
            positives = _Others(self.positives, column, high)
            wins, losses = _below(high, low), _below(low, high)
            v10[:, column] = (wins + negatives.tied(high)) / negatives.total
            v01[:, column] = 1.0 - (losses + positives.tied(low)) / positives.total
            x, y = self._place(high, column), self._place(low, column)
            spread = negatives.below(x).sum() + (positives.counts.sum() - positives.below(y)).sum()
            both = negatives.below_spread(positives)[cell_of(high, positives.edges)].sum()
            pairs = negatives.total * positives.total
            area[column] = (wins.sum() + spread - both) / pairs
        return {
            "rows": np.array([float(v01.shape[0]), float(v10.shape[0])]),
            "area": area,
            "v10": v10.sum(axis=0),
            "v01": v01.sum(axis=0),
            "v10_products": pack(v10.T @ v10),
            "v01_products": pack(v01.T @ v01),
        }

    def _place(self, scores: Float, column: int) -> Float:
        """Return the scores, those of a cell with a single value at its middle."""
        edges = np.clip(self.edges[column], 0.0, 1.0)
        cell = cell_of(scores, self.edges[column])
        middle = 0.5 * (edges[cell] + edges[cell + 1])
        return np.where(self.single[column][cell] > 0.5, middle, scores)

    def finalise(self, sums: Sums) -> DeLongResult:
        """Return areas and covariance over all sites."""
        negatives, positives = float(sums["rows"][0]), float(sums["rows"][1])
        k = sums["v10"].size
        tied = delong_from_sums(
            negatives=negatives,
            positives=positives,
            v10=sums["v10"],
            v01=sums["v01"],
            v10_products=unpack(sums["v10_products"], k),
            v01_products=unpack(sums["v01_products"], k),
        )
        known = np.isfinite(tied.auc)
        return DeLongResult(
            n=tied.n,
            positives=tied.positives,
            auc=np.where(known, np.clip(sums["area"], 0.0, 1.0), np.nan),
            covariance=tied.covariance,
        )


class _Others:
    """Other sites' scores of one class and column, known by cell.

    `total` is the number of that class at all sites, at least 1.

    Raises
    ------
    ValueError : the site's own scores are not among those counted.
    """

    def __init__(self, cells: ClassCells, column: int, own: Float) -> None:
        self.edges = cells.edges[column]
        self.lower, self.upper = cells.lower[column], cells.upper[column]
        everyone = cells.counts[column]
        self.total = max(float(everyone.sum()), 1.0)
        self.counts = everyone - cell_counts(own, self.edges)
        if (self.counts < -0.5).any():
            raise ValueError("the site has scores that the class-wise counts do not know")

    def tied(self, scores: Float) -> Float:
        """Return how many lie below each score, those of its own cell as ties."""
        middle = np.cumsum(self.counts) - 0.5 * self.counts
        lower: Float = middle[cell_of(scores, self.edges)]
        return lower

    def below(self, scores: Float) -> Float:
        """Return how many lie below each score when evenly spread from `lower` to `upper`."""
        width = self.upper - self.lower
        inside = np.clip(scores[:, None] - self.lower, 0.0, width)
        lower: Float = _over(inside, width) @ self.counts
        return lower

    def below_spread(self, other: _Others) -> Float:
        """Return the mean of `below` over each cell of the other class, evenly spread likewise.

        Computed from differences within the cells: those of integrals from 0 lose all digits in
        cells narrower than the resolution of doubles near 1.
        """
        width = self.upper - self.lower
        low, high = other.lower[:, None], other.upper[:, None]
        first = np.clip(low - self.lower, 0.0, width)
        last = np.clip(high - self.lower, 0.0, width)
        inside = 0.5 * _over((last - first) * (last + first), np.broadcast_to(width, last.shape))
        beyond = np.maximum(high - np.maximum(low, self.upper), 0.0)
        return _over((inside + beyond) @ self.counts, other.upper - other.lower)


def _over(part: Float, width: Float) -> Float:
    """Return the quotient, zero where the width is."""
    return np.divide(part, width, out=np.zeros(part.shape), where=width > 0)


def delong_unknown(n: int, positives: int, k: int) -> DeLongResult:
    """Return counts alone, for k models whose areas do not exist or are withheld."""
    nothing = np.full((k, k), np.nan)
    return DeLongResult(n=n, positives=positives, auc=np.full(k, np.nan), covariance=nothing)


def delong_from_sums(
    *,
    negatives: float,
    positives: float,
    v10: Float,
    v01: Float,
    v10_products: Float,
    v01_products: Float,
) -> DeLongResult:
    """Return areas and covariance from sums of placements (k,) and of their products (k, k)."""
    k = v10.size
    rows, cases = round(negatives + positives), round(positives)
    if min(negatives, positives) < 1:
        return delong_unknown(rows, cases, k)
    auc, mirror = v10 / positives, v01 / negatives
    covariance = np.full((k, k), np.nan)
    if min(negatives, positives) >= 2:
        s10 = (v10_products - positives * np.outer(auc, auc)) / (positives - 1.0)
        s01 = (v01_products - negatives * np.outer(mirror, mirror)) / (negatives - 1.0)
        covariance = s10 / positives + s01 / negatives
    return DeLongResult(n=rows, positives=cases, auc=auc, covariance=covariance)


def _below(scores: Float, reference: Float) -> Float:
    """Return how many reference scores lie below each score, ties as one half."""
    ordered = np.sort(reference)
    left = np.searchsorted(ordered, scores, side="left")
    right = np.searchsorted(ordered, scores, side="right")
    return 0.5 * (left + right).astype(np.float64)
