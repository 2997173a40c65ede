"""Pairs of patients of one hospital: how often the one with the endpoint has the higher score.

Over hospitals an AUC also counts pairs of two hospitals, which a model wins that knows the hospital
and how frequent the endpoint is there. For a patient of one hospital that is no help.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Int, Rows, Sums
from common.statistics.exact import complete

# the largest variance of a placement, for patients of whom no two share a class and a fold
LARGEST = 0.25


@plain
class OwnPairsResult:
    """Pairs of one hospital and fold, those won by each model (k,), and the variance of these."""

    pairs: float
    won: Float
    variance: Float

    def areas(self) -> tuple[Float, Float]:
        """Return the share of pairs won and its variance, both (k,); NaN without a pair."""
        if self.pairs < 1:
            return np.full(self.won.shape, np.nan), np.full(self.won.shape, np.nan)
        return self.won / self.pairs, self.variance / self.pairs**2


@plain
class OwnPairs:
    """Pairs of a positive and a negative of the same hospital and fold, and those in order.

    A tie counts as one half. Patients without a fold are one group. The variance is DeLong's of
    each group, with one variance of the placements for all groups of a hospital.

    Examples
    --------
    >>> scores, label = np.array([[0.1], [0.6], [0.4], [0.9]]), np.array([0.0, 0.0, 1.0, 1.0])
    >>> rows = Rows(scores, ("model",), label, np.zeros(4, int))
    >>> OwnPairs().finalise(OwnPairs().from_rows(rows)).areas()[0]
    array([0.75])
    """

    final: ClassVar[bool] = True
    kind: ClassVar[str] = "scores"
    step: ClassVar[dict[str, float]] = {"pairs": 0.5, "won": 2.0**-20, "variance": 2.0**-10}
    tally: ClassVar[dict[str, str]] = {}
    about: ClassVar[str] = (
        "For each model, how many pairs of a patient with and a patient without the endpoint, both"
        " of one hospital, its scores put in order, and how uncertain this number is."
    )
    attack: ClassVar[str] = (
        "A few numbers a model over all pairs of a set. With the numbers of patients known, they"
        " are an AUC and its standard error."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "pairs": ("1",),
        "won": ("models",),
        "variance": ("models",),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare a number and two vectors of length p."""
        return {"pairs": (1,), "won": (p,), "variance": (p,)}

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's sums; ValueError on missing scores."""
        scores = complete(rows)
        origin = np.zeros(rows.n, dtype=np.int64) if rows.origin is None else rows.origin
        found = {name: np.zeros(shape) for name, shape in self.shapes(rows.p).items()}
        for hospital in np.unique(origin):
            own = origin == hospital
            for part, sums in _of_hospital(scores[own], rows.label[own], rows.fold[own]).items():
                found[part] = found[part] + sums
        return found

    def finalise(self, sums: Sums) -> OwnPairsResult:
        """Return the sums over all sites."""
        return OwnPairsResult(float(sums["pairs"][0]), sums["won"], sums["variance"])


def shares_below(scores: Float, reference: Float) -> Float:
    """Return the share of reference scores below each score (n,), a tie counting one half.

    >>> shares_below(np.array([0.4, 0.9]), np.array([0.1, 0.4]))
    array([0.75, 1.  ])
    """
    ordered = np.sort(reference)
    left = np.searchsorted(ordered, scores, side="left")
    right = np.searchsorted(ordered, scores, side="right")
    return 0.5 * (left + right) / ordered.size


def _of_hospital(scores: Float, label: Float, fold: Int) -> Sums:
    """Return the sums of one hospital's patients, over its folds."""
    k = scores.shape[1]
    won, each, spread, degrees = np.zeros(k), np.zeros(2), np.zeros((2, k)), np.zeros(2)
    pairs = 0.0
    for group in np.unique(fold):
        high = scores[(fold == group) & (label > 0.5)]
        low = scores[(fold == group) & (label <= 0.5)]
        if not (len(high) and len(low)):
            continue
        above = np.column_stack([shares_below(*both) for both in zip(high.T, low.T, strict=True)])
        below = np.column_stack([shares_below(*both) for both in zip(low.T, high.T, strict=True)])
        area = above.mean(axis=0)
        pairs += len(high) * len(low)
        won += area * len(high) * len(low)
        spread += [np.square(one - one.mean(axis=0)).sum(axis=0) for one in (above, below)]
        degrees += [len(high) - 1, len(low) - 1]
        each += [len(high) * len(low) ** 2, len(low) * len(high) ** 2]
    placed = [spread[i] / degrees[i] if degrees[i] else np.full(k, LARGEST) for i in (0, 1)]
    return {
        "pairs": np.array([pairs]),
        "won": won,
        "variance": each[0] * placed[0] + each[1] * placed[1],
    }
