"""The one step that leaves rows out: patients of one level of a stratum."""

from __future__ import annotations

import dataclasses
from typing import Any

from common.messages.plain import plain
from common.statistics.base import Rows
from common.transforms.base import Columns, positions


@plain
class InLevel:
    """Keep the rows with this level in this column, which goes; rows without a level go too.

    What may be asked of such rows is narrow, see `common.disclosure.levels`: a question that could
    choose rows at will would single a patient out.

    Parameters
    ----------
    column : of the table `strata`, which a site makes of its test patients at the handout.
    level : 0, 1, ...
    columns : what is left, in this order.
    """

    column: str
    level: int
    columns: Columns

    def apply(self, rows: Rows) -> Rows:
        """Fewer rows; ValueError when a column is not there."""
        (place,) = positions(rows.columns, (self.column,))
        kept = rows.values[:, place] == self.level
        return dataclasses.replace(
            rows,
            values=rows.values[kept][:, positions(rows.columns, self.columns)],
            columns=self.columns,
            label=rows.label[kept],
            fold=rows.fold[kept],
            paired=None,
            origin=None if rows.origin is None else rows.origin[kept],
        )

    def outputs(self) -> Columns:
        """What is left."""
        return self.columns

    def restrict(self, wanted: Columns) -> tuple[Any, Columns]:
        """Fewer columns."""
        return dataclasses.replace(self, columns=wanted), (*wanted, self.column)
