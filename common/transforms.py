"""Fitted steps that travel as plain arrays: the same serve training, evaluation and prediction.

Every step names the columns it was fitted on and refuses others, so that training and inference
cannot drift apart. `restrict` gives the same step for fewer output columns, and the input columns
it then needs; a view uses it to send along only what a selected model really uses.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from common.plain import plain
from common.statistics.base import Float, Rows

Columns = tuple[str, ...]


@runtime_checkable
class Transform(Protocol):
    """One fitted step."""

    def apply(self, rows: Rows) -> Rows:
        """The rows after this step."""

    def outputs(self) -> Columns | None:
        """Output columns, None when they are those of the input."""

    def restrict(self, wanted: Columns) -> tuple[Any, Columns]:
        """This step for `wanted` output columns only, and the input columns it needs."""


def _expect(rows: Rows, columns: Columns, step: str) -> None:
    if rows.columns != columns:
        missing = [name for name in columns if name not in rows.columns]
        detail = (
            f"missing {', '.join(missing[:5])}" if missing else "another order or extra columns"
        )
        raise ValueError(f"{step}: the columns are not those it was fitted on ({detail})")


def _replace(rows: Rows, values: Float, columns: Columns, paired: Float | None = None) -> Rows:
    return dataclasses.replace(rows, values=values, columns=columns, paired=paired)


def _positions(columns: Columns, wanted: Columns) -> NDArray[np.int64]:
    place = {name: i for i, name in enumerate(columns)}
    unknown = [name for name in wanted if name not in place]
    if unknown:
        raise ValueError(f"unknown column {unknown[0]!r}")
    return np.array([place[name] for name in wanted], dtype=np.int64)


@plain
class Select:
    """Keep these columns, in this order."""

    columns: Columns

    def apply(self, rows: Rows) -> Rows:
        """Rows with these columns only; ValueError when one is not there."""
        at = _positions(rows.columns, self.columns)
        paired = None if rows.paired is None else rows.paired[:, at]
        return _replace(rows, rows.values[:, at], self.columns, paired)

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
        _expect(rows, self.columns, "Impute")
        missing = ~np.isfinite(rows.values)
        filled = np.where(missing, self.fill, rows.values)
        flags = missing[:, _positions(self.columns, self.indicators)].astype(np.float64)
        return _replace(rows, np.hstack([filled, flags]), self.outputs())

    def outputs(self) -> Columns:
        """The columns and the companions."""
        return (*self.columns, *(f"{name}:missing" for name in self.indicators))

    def restrict(self, wanted: Columns) -> tuple[_Chain, Columns]:
        """Fill only the columns that are wanted or whose companion is."""
        flagged = tuple(n for n in self.indicators if f"{n}:missing" in wanted)
        needed = tuple(n for n in self.columns if n in wanted or n in flagged)
        fill = self.fill[_positions(self.columns, needed)]
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
        _expect(rows, self.columns, "Standardise")
        paired = None if rows.paired is None else (rows.paired - self.mean) / self.scale
        return _replace(rows, (rows.values - self.mean) / self.scale, rows.columns, paired)

    def outputs(self) -> Columns:
        """Its columns."""
        return self.columns

    def restrict(self, wanted: Columns) -> tuple[Standardise, Columns]:
        """Standardise fewer columns."""
        at = _positions(self.columns, wanted)
        return Standardise(columns=wanted, mean=self.mean[at], scale=self.scale[at]), wanted


@plain
class Clip:
    """Limit every value to [-limit, limit]: bounds what one patient adds to a Gram matrix."""

    limit: float

    def apply(self, rows: Rows) -> Rows:
        """Clipped rows."""
        return _replace(rows, np.clip(rows.values, -self.limit, self.limit), rows.columns)

    def outputs(self) -> None:
        """As the input."""

    def restrict(self, wanted: Columns) -> tuple[Clip, Columns]:
        """The same step."""
        return self, wanted


@plain
class Project:
    """(x - mean) @ axes: principal components.

    Parameters
    ----------
    columns : the p input columns.
    mean : float64 (p,).
    axes : float64 (p, k).
    names : the k output columns.
    """

    columns: Columns
    mean: Float
    axes: Float
    names: Columns

    def apply(self, rows: Rows) -> Rows:
        """Scores on the axes."""
        _expect(rows, self.columns, "Project")
        return _replace(rows, (rows.values - self.mean) @ self.axes, self.names)

    def outputs(self) -> Columns:
        """Names of the components."""
        return self.names

    def restrict(self, wanted: Columns) -> tuple[Project, Columns]:
        """Fewer components; all input columns are still needed."""
        axes = self.axes[:, _positions(self.names, wanted)]
        return dataclasses.replace(self, axes=axes, names=wanted), self.columns


@plain
class Linear:
    """x @ weights + intercept: a decision value in one column."""

    columns: Columns
    weights: Float
    intercept: float
    name: str

    def apply(self, rows: Rows) -> Rows:
        """One column of decision values."""
        _expect(rows, self.columns, "Linear")
        value = rows.values @ self.weights + self.intercept
        return _replace(rows, value[:, None], (self.name,))

    def outputs(self) -> Columns:
        """Its one column."""
        return (self.name,)

    def restrict(self, wanted: Columns) -> tuple[Linear, Columns]:
        """The same step."""
        return self, self.columns


@plain
class Sigmoid:
    """1 / (1 + exp(a f + b)): Platt's calibrated probability of a decision value f."""

    a: float
    b: float

    def apply(self, rows: Rows) -> Rows:
        """Probabilities."""
        z = np.clip(self.a * rows.values + self.b, -700.0, 700.0)
        return _replace(rows, 1.0 / (1.0 + np.exp(z)), rows.columns)

    def outputs(self) -> None:
        """As the input."""

    def restrict(self, wanted: Columns) -> tuple[Sigmoid, Columns]:
        """The same step."""
        return self, wanted


@plain
class Stack:
    """A scikit-learn classifier over the base models' probabilities, as skops bytes (no pickle)."""

    columns: Columns
    blob: NDArray[np.uint8]
    name: str

    def apply(self, rows: Rows) -> Rows:
        """The stacker's probability of the positive class."""
        _expect(rows, self.columns, "Stack")
        if rows.n == 0:
            return _replace(rows, np.zeros((0, 1)), (self.name,))
        probability = _estimator(self.blob.tobytes()).predict_proba(rows.values)[:, 1]
        return _replace(rows, np.asarray(probability, dtype=np.float64)[:, None], (self.name,))

    def outputs(self) -> Columns:
        """Its one column."""
        return (self.name,)

    def restrict(self, wanted: Columns) -> tuple[Stack, Columns]:
        """The same step."""
        return self, self.columns


@plain
class Rename:
    """Give the columns other names."""

    names: Columns

    def apply(self, rows: Rows) -> Rows:
        """The same values."""
        return _replace(rows, rows.values, self.names)

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


# what scikit-learn's forest, boosting and calibration hold beyond skops' own list
TRUSTED_TYPES = (
    "sklearn.tree._tree.Tree",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
)


@lru_cache(maxsize=4)
def _estimator(blob: bytes) -> Any:
    """Read a stacker; only scikit-learn's own types, as listed, are trusted."""
    from skops.io import get_untrusted_types, loads

    unknown = sorted(set(get_untrusted_types(data=blob)) - set(TRUSTED_TYPES))
    if unknown:
        raise ValueError(f"the stacker holds a type that is not trusted: {unknown[0]}")
    return loads(blob, trusted=list(TRUSTED_TYPES))
