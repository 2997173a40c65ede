"""Steps that choose, fill, scale and bound columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Rows
from common.transforms.base import Columns, expect, positions, replace


@plain
class Select:
    """Keep these columns, in this order."""

    columns: Columns

    def apply(self, rows: Rows) -> Rows:
        """Rows with these columns only; ValueError when one is not there."""
        at = positions(rows.columns, self.columns)
        paired = None if rows.paired is None else rows.paired[:, at]
        return replace(rows, rows.values[:, at], self.columns, paired)

    def outputs(self) -> Columns:
        """The kept columns."""
        return self.columns

    def restrict(self, wanted: Columns) -> tuple[Select, Columns]:
        """Keep fewer."""
        return Select(columns=wanted), wanted


@plain
class Impute:
    """Fill missing values with training-set values; add a 0/1 column where `indicators` says so.

    Parameters
    ----------
    columns : the p columns it was fitted on.
    fill : float64 (p,).
    indicators : columns that get a companion `NAME:missing`.
    """

    columns: Columns
    fill: Float
    indicators: Columns = ()

    def apply(self, rows: Rows) -> Rows:
        """Rows without missing values."""
        expect(rows, self.columns, "Impute")
        missing = ~np.isfinite(rows.values)
        filled = np.where(missing, self.fill, rows.values)
        flags = missing[:, positions(self.columns, self.indicators)].astype(np.float64)
        return replace(rows, np.hstack([filled, flags]), self.outputs())

    def outputs(self) -> Columns:
        """The columns and the companions."""
        return (*self.columns, *(f"{name}:missing" for name in self.indicators))

    def restrict(self, wanted: Columns) -> tuple[_Chain, Columns]:
        """Fill only the columns that are wanted or whose companion is."""
        flagged = tuple(n for n in self.indicators if f"{n}:missing" in wanted)
        needed = tuple(n for n in self.columns if n in wanted or n in flagged)
        fill = self.fill[positions(self.columns, needed)]
        small = Impute(columns=needed, fill=fill, indicators=flagged)
        return _Chain(steps=(small, Select(columns=wanted))), needed


@plain
class Standardise:
    """(x - mean) / scale, per column."""

    columns: Columns
    mean: Float
    scale: Float

    def apply(self, rows: Rows) -> Rows:
        """Standardised rows."""
        expect(rows, self.columns, "Standardise")
        paired = None if rows.paired is None else (rows.paired - self.mean) / self.scale
        return replace(rows, (rows.values - self.mean) / self.scale, rows.columns, paired)

    def outputs(self) -> Columns:
        """Its columns."""
        return self.columns

    def restrict(self, wanted: Columns) -> tuple[Standardise, Columns]:
        """Standardise fewer columns."""
        at = positions(self.columns, wanted)
        return Standardise(columns=wanted, mean=self.mean[at], scale=self.scale[at]), wanted


@plain
class Clip:
    """Limit every value to [-limit, limit]: bounds what one patient adds to a Gram matrix."""

    limit: float

    def apply(self, rows: Rows) -> Rows:
        """Clipped rows."""
        return replace(rows, np.clip(rows.values, -self.limit, self.limit), rows.columns)

    def outputs(self) -> None:
        """As the input."""

    def restrict(self, wanted: Columns) -> tuple[Clip, Columns]:
        """The same step."""
        return self, wanted


@plain
class Rename:
    """Give the columns other names."""

    names: Columns

    def apply(self, rows: Rows) -> Rows:
        """The same values."""
        return replace(rows, rows.values, self.names)

    def outputs(self) -> Columns:
        """The new names."""
        return self.names

    def restrict(self, wanted: Columns) -> tuple[Rename, Columns]:
        """Not narrowed: a renaming stands at the end of a model, on one column."""
        raise ValueError("Rename cannot be narrowed")


@plain
class _Chain:
    """Several steps as one; made by `restrict` only."""

    steps: tuple[Any, ...]

    def apply(self, rows: Rows) -> Rows:
        """All steps in order."""
        for step in self.steps:
            rows = step.apply(rows)
        return rows

    def outputs(self) -> Columns | None:
        """Those of the last step."""
        result: Columns | None = self.steps[-1].outputs()
        return result

    def restrict(self, wanted: Columns) -> tuple[_Chain, Columns]:
        """Narrow from the last step to the first."""
        steps: list[Any] = []
        needed = wanted
        for step in reversed(self.steps):
            small, needed = step.restrict(needed)
            steps.insert(0, small)
        return _Chain(steps=tuple(steps)), needed


def is_filling(step: Any) -> bool:
    """Whether a step fills missing values and chooses columns, and does nothing else."""
    if isinstance(step, _Chain):
        return all(isinstance(part, Select) or is_filling(part) for part in step.steps)
    return isinstance(step, Impute)
