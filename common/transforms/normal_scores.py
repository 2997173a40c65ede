"""Transform columns to normal scores: extreme values of a patient count by rank only."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from common.learning.normal_scores import score_grid
from common.messages.plain import plain
from common.statistics.base import Float, Rows
from common.transforms.base import Columns, Transform, expect, positions, replace
from common.utils import portable


@plain
class NormalScores(Transform):
    """Replace each value by the normal score of its rank, interpolated linearly between knots.

    Parameters
    ----------
    columns : the p columns it was fitted on.
    knots : float64 (p, k), increasing along a row: values at which the scores are reached; see
        `common.learning.normal_scores`.
    scores : float64 (k,), increasing. Values beyond the outer knots get the outer scores.

    Examples
    --------
    >>> rows = Rows(np.array([[1.5], [900.0]]), ("volume",), np.zeros(2), np.zeros(2, int))
    >>> knots, scores = np.array([[1.0, 2.0, 9.0]]), np.array([-1.0, 0.0, 1.0])
    >>> NormalScores(("volume",), knots, scores).apply(rows).values
    array([[-0.5],
           [ 1. ]])
    """

    columns: Columns
    knots: Float
    scores: Float

    place: ClassVar[float] = 3
    shape: ClassVar[str] = "common"

    def apply(self, rows: Rows) -> Rows:
        """Return scores instead of values; missing values stay missing."""
        expect(rows, self.columns, "NormalScores")
        paired = None if rows.paired is None else self.of(rows.paired)
        return replace(rows, self.of(rows.values), rows.columns, paired)

    def of(self, values: Float) -> Float:
        """Return scores (n, p) of values (n, p)."""
        found = [
            portable.interpolate(own, knots, self.scores)
            for own, knots in zip(values.T, self.knots, strict=True)
        ]
        return np.array(found).reshape(values.shape[::-1]).T.copy()

    def outputs(self) -> Columns:
        """Return its columns."""
        return self.columns

    def restrict(self, wanted: Columns) -> tuple[NormalScores, Columns]:
        """Keep fewer columns."""
        at = positions(self.columns, wanted)
        return dataclasses.replace(self, columns=wanted, knots=self.knots[at]), wanted

    def bound(self, before: float) -> float:
        """Return the largest absolute score."""
        return float(np.abs(self.scores).max(initial=0.0))

    def fits(self, clip: float) -> bool:
        """Accept no scores but those of the study's limit."""
        return np.array_equal(self.scores, score_grid(clip))
