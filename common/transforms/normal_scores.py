"""Columns made normal: what is left of one patient's extreme values is their rank."""

from __future__ import annotations

import dataclasses

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Rows
from common.transforms.base import Columns, expect, positions, replace


@plain
class NormalScores:
    """A value becomes the normal score of its rank, read off knots, with straight lines between.

    Parameters
    ----------
    columns : the p columns it was fitted on.
    knots : float64 (p, k), increasing along a row: where the scores are reached; see
        `common.learning.normal_scores`.
    scores : float64 (k,), increasing. Values beyond the outer knots get the outer scores.
    """

    columns: Columns
    knots: Float
    scores: Float

    @property
    def limit(self) -> float:
        """The largest absolute score."""
        return float(np.abs(self.scores).max(initial=0.0))

    def apply(self, rows: Rows) -> Rows:
        """Scores instead of values; missing values stay missing."""
        expect(rows, self.columns, "NormalScores")
        paired = None if rows.paired is None else self.of(rows.paired)
        return replace(rows, self.of(rows.values), rows.columns, paired)

    def of(self, values: Float) -> Float:
        """Scores (n, p) of values (n, p)."""
        found = [
            np.interp(own, knots, self.scores)
            for own, knots in zip(values.T, self.knots, strict=True)
        ]
        return np.array(found).reshape(values.shape[::-1]).T.copy()

    def outputs(self) -> Columns:
        """Its columns."""
        return self.columns

    def restrict(self, wanted: Columns) -> tuple[NormalScores, Columns]:
        """Fewer columns."""
        at = positions(self.columns, wanted)
        return dataclasses.replace(self, columns=wanted, knots=self.knots[at]), wanted
