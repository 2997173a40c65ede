"""The one step that leaves rows out: it keeps patients of one level of a stratum."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Rows
from common.transforms.base import Columns, Transform, positions


@plain
class InLevel(Transform):
    """Keep rows with this level in this column, and drop the column; rows without a level go too.

    Only few questions may be asked about such rows, see `common.disclosure.sums`: a question that
    could choose rows at will would single a patient out.

    Parameters
    ----------
    column : of the table `strata`, which a site makes of its test patients at the handout.
    level : 0, 1, ...
    columns : the columns that remain, in this order.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.array([[0.0, 0.3], [1.0, 0.8]])
    >>> rows = Rows(values, ("sex", "score"), np.zeros(2), np.zeros(2, int))
    >>> InLevel(column="sex", level=1, columns=("score",)).apply(rows).values
    array([[0.8]])
    """

    column: str
    level: int
    columns: Columns

    place: ClassVar[float] = 10
    chooses_rows: ClassVar[bool] = True

    def apply(self, rows: Rows) -> Rows:
        """Return the rows that remain; ValueError when a column is missing."""
        (place,) = positions(rows.columns, (self.column,))
        kept = rows.values[:, place] == self.level
        own = rows.at(np.flatnonzero(kept))
        return dataclasses.replace(
            own,
            values=own.values[:, positions(rows.columns, self.columns)],
            columns=self.columns,
            paired=None,
        )

    def outputs(self) -> Columns:
        """Return the columns that remain."""
        return self.columns

    def restrict(self, wanted: Columns) -> tuple[Any, Columns]:
        """Return the step for fewer columns."""
        return dataclasses.replace(self, columns=wanted), (*wanted, self.column)
