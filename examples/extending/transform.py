"""Put skewed columns, such as laboratory values, on a log scale before they are standardised."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Rows
from common.transforms.base import Columns, Transform, expect, positions, replace


@plain
class LogScale(Transform):
    """Replace x by sign(x) log(1 + |x|) in some columns; others, and gaps, stay as they are.

    It has no number that somebody chooses, so it cannot be aimed at a patient: that earns it a
    place. It bounds nothing, and the columns keep shapes of their own, as is assumed of a step that
    says nothing: guarded mode limits what comes after it, and counts its columns as plain.

    Parameters
    ----------
    columns : the p columns it was fitted on.
    skewed : those of them on a log scale.

    Examples
    --------
    >>> rows = Rows(np.array([[0.0, 61.0], [99.0, 58.0]]), ("crp", "age"), np.zeros(2), np.zeros(2))
    >>> LogScale(columns=("crp", "age"), skewed=("crp",)).apply(rows).values.round(3)
    array([[ 0.   , 61.   ],
           [ 4.605, 58.   ]])
    """

    columns: Columns
    skewed: Columns

    place: ClassVar[float] = 1.5  # after Impute, 1, and before Standardise, 2

    def apply(self, rows: Rows) -> Rows:
        """Return rows with these columns on a log scale."""
        expect(rows, self.columns, "LogScale")
        at = positions(self.columns, self.skewed)
        values = rows.values.copy()
        values[:, at] = np.sign(values[:, at]) * np.log1p(np.abs(values[:, at]))
        return replace(rows, values, rows.columns)

    def restrict(self, wanted: Columns) -> tuple[LogScale, Columns]:
        """Keep fewer columns."""
        skewed = tuple(name for name in wanted if name in self.skewed)
        return dataclasses.replace(self, columns=wanted, skewed=skewed), wanted
