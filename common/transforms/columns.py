"""Steps that select, impute, scale and limit columns."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Rows
from common.transforms.base import (
    ANYWHERE,
    NOWHERE,
    Columns,
    Transform,
    expect,
    positions,
    replace,
)


@plain
class Select(Transform):
    """Keep these columns, in this order.

    Examples
    --------
    >>> rows = Rows(np.array([[1.0, 2.0, 3.0]]), ("a", "b", "c"), np.zeros(1), np.zeros(1, int))
    >>> Select(columns=("c", "a")).apply(rows).values
    array([[3., 1.]])
    """

    columns: Columns

    place: ClassVar[float] = ANYWHERE
    shape: ClassVar[str] = "kept"

    def apply(self, rows: Rows) -> Rows:
        """Return rows with these columns only; ValueError when one is missing."""
        at = positions(rows.columns, self.columns)
        paired = None if rows.paired is None else rows.paired[:, at]
        return replace(rows, rows.values[:, at], self.columns, paired)

    def outputs(self) -> Columns:
        """Return the kept columns."""
        return self.columns

    def restrict(self, wanted: Columns) -> tuple[Select, Columns]:
        """Keep fewer."""
        return Select(columns=wanted), wanted

    def bound(self, before: float) -> float:
        """Return the same: values stay."""
        return before


@plain
class Impute(Transform):
    """Fill missing values with training-set values; add a 0/1 column where `indicators` says so.

    Parameters
    ----------
    columns : the p columns it was fitted on.
    fill : float64 (p,).
    indicators : columns that get a companion `NAME:missing`.

    Examples
    --------
    >>> rows = Rows(np.array([[60.0], [np.nan]]), ("age",), np.zeros(2), np.zeros(2, int))
    >>> Impute(columns=("age",), fill=np.array([55.0]), indicators=("age",)).apply(rows).values
    array([[60.,  0.],
           [55.,  1.]])
    """

    columns: Columns
    fill: Float
    indicators: Columns = ()

    place: ClassVar[float] = 1

    def apply(self, rows: Rows) -> Rows:
        """Return rows without missing values."""
        expect(rows, self.columns, "Impute")
        missing = ~np.isfinite(rows.values)
        filled = np.where(missing, self.fill, rows.values)
        flags = missing[:, positions(self.columns, self.indicators)].astype(np.float64)
        return replace(rows, np.hstack([filled, flags]), self.outputs())

    def outputs(self) -> Columns:
        """Return the columns and the companions."""
        return (*self.columns, *(f"{name}:missing" for name in self.indicators))

    def restrict(self, wanted: Columns) -> tuple[_Chain, Columns]:
        """Fill only columns that are wanted, or whose companion is."""
        flagged = tuple(n for n in self.indicators if f"{n}:missing" in wanted)
        needed = tuple(n for n in self.columns if n in wanted or n in flagged)
        fill = self.fill[positions(self.columns, needed)]
        small = Impute(columns=needed, fill=fill, indicators=flagged)
        return _Chain(steps=(small, Select(columns=wanted))), needed


@plain
class Standardise(Transform):
    """Scale each column to (x - mean) / scale.

    Examples
    --------
    >>> rows = Rows(np.array([[60.0], [70.0]]), ("age",), np.zeros(2), np.zeros(2, int))
    >>> Standardise(("age",), mean=np.array([60.0]), scale=np.array([5.0])).apply(rows).values
    array([[0.],
           [2.]])
    """

    columns: Columns
    mean: Float
    scale: Float

    place: ClassVar[float] = 2
    shape: ClassVar[str] = "kept"

    def apply(self, rows: Rows) -> Rows:
        """Return standardised rows."""
        expect(rows, self.columns, "Standardise")
        paired = None if rows.paired is None else (rows.paired - self.mean) / self.scale
        return replace(rows, (rows.values - self.mean) / self.scale, rows.columns, paired)

    def outputs(self) -> Columns:
        """Return its columns."""
        return self.columns

    def restrict(self, wanted: Columns) -> tuple[Standardise, Columns]:
        """Standardise fewer columns."""
        at = positions(self.columns, wanted)
        return Standardise(columns=wanted, mean=self.mean[at], scale=self.scale[at]), wanted

    def fits(self, clip: float) -> bool:
        """Accept scales that a deviation can give."""
        return bool((self.scale > 0).all())


@plain
class Clip(Transform):
    """Limit every value to [-limit, limit], which bounds one patient's share of a Gram matrix.

    Examples
    --------
    >>> rows = Rows(np.array([[0.5, -9.0]]), ("a", "b"), np.zeros(1), np.zeros(1, int))
    >>> Clip(limit=5.0).apply(rows).values
    array([[ 0.5, -5. ]])
    """

    limit: float

    place: ClassVar[float] = 5
    shape: ClassVar[str] = "kept"

    def apply(self, rows: Rows) -> Rows:
        """Return rows with limited values."""
        return replace(rows, np.clip(rows.values, -self.limit, self.limit), rows.columns)

    def bound(self, before: float) -> float:
        """Return the limit."""
        return self.limit

    def fits(self, clip: float) -> bool:
        """Accept no limit but the study's."""
        return self.limit == clip


@plain
class Rename(Transform):
    """Rename the columns.

    Examples
    --------
    >>> rows = Rows(np.array([[0.5]]), ("svm",), np.zeros(1), np.zeros(1, int))
    >>> Rename(names=("clinical",)).apply(rows).columns
    ('clinical',)
    """

    names: Columns

    place: ClassVar[float] = 9
    over: ClassVar[tuple[str, ...]] = ("models", "folds")

    def apply(self, rows: Rows) -> Rows:
        """Return the same values under the new names."""
        return replace(rows, rows.values, self.names)

    def outputs(self) -> Columns:
        """Return the new names."""
        return self.names

    def restrict(self, wanted: Columns) -> tuple[Rename, Columns]:
        """Refuse: a renaming stands at the end of a model, on one column."""
        raise ValueError("Rename cannot be narrowed")


@plain
class _Chain(Transform):
    """Several steps as one; made by `restrict` only."""

    steps: tuple[Any, ...]

    def apply(self, rows: Rows) -> Rows:
        """Apply all steps in order."""
        for step in self.steps:
            rows = step.apply(rows)
        return rows

    def outputs(self) -> Columns | None:
        """Return the columns of the last step that names any."""
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

    def stands(self) -> float:
        """Return the place of filling, where it does nothing but fill and choose columns."""
        filling = all(
            isinstance(part, Transform) and part.stands() in (ANYWHERE, Impute.place)
            for part in self.steps
        )
        return Impute.place if filling else NOWHERE

    def fits(self, clip: float) -> bool:
        """Accept what every step accepts."""
        return all(step.fits(clip) for step in self.steps)
