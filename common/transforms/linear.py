"""Linear steps and the calibrated probability."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Rows
from common.transforms.base import Columns, Transform, expect, positions, replace


@plain
class Project(Transform):
    """Project (x - mean) onto axes: principal components.

    Parameters
    ----------
    columns : the p input columns.
    mean : float64 (p,).
    axes : float64 (p, k).
    names : the k output columns.

    Examples
    --------
    >>> rows = Rows(np.array([[3.0, 5.0]]), ("a", "b"), np.zeros(1), np.zeros(1, int))
    >>> axes = np.array([[0.6], [0.8]])
    >>> Project(("a", "b"), np.array([3.0, 0.0]), axes, names=("pc1",)).apply(rows).values
    array([[4.]])
    """

    columns: Columns
    mean: Float
    axes: Float
    names: Columns

    place: ClassVar[float] = 4
    shape: ClassVar[str] = "mixed"

    def apply(self, rows: Rows) -> Rows:
        """Return the scores on the axes."""
        expect(rows, self.columns, "Project")
        return replace(rows, (rows.values - self.mean) @ self.axes, self.names)

    def outputs(self) -> Columns:
        """Return the names of the components."""
        return self.names

    def restrict(self, wanted: Columns) -> tuple[Project, Columns]:
        """Keep fewer components; all input columns are still needed."""
        axes = self.axes[:, positions(self.names, wanted)]
        return dataclasses.replace(self, axes=axes, names=wanted), self.columns


@plain
class Linear(Transform):
    """Compute x @ weights + intercept: a decision value in one column.

    Examples
    --------
    >>> rows = Rows(np.array([[3.0, 5.0]]), ("a", "b"), np.zeros(1), np.zeros(1, int))
    >>> Linear(("a", "b"), np.array([1.0, -1.0]), intercept=0.5, name="svm").apply(rows).values
    array([[-1.5]])
    """

    columns: Columns
    weights: Float
    intercept: float
    name: str

    place: ClassVar[float] = 7
    over: ClassVar[tuple[str, ...]] = ("models",)

    def apply(self, rows: Rows) -> Rows:
        """Return one column of decision values."""
        expect(rows, self.columns, "Linear")
        value = rows.values @ self.weights + self.intercept
        return replace(rows, value[:, None], (self.name,))

    def outputs(self) -> Columns:
        """Return its only column."""
        return (self.name,)

    def restrict(self, wanted: Columns) -> tuple[Linear, Columns]:
        """Return the same step."""
        return self, self.columns


@plain
class Sigmoid(Transform):
    """Compute 1 / (1 + exp(a f + b)): Platt's calibrated probability of a decision value f.

    Examples
    --------
    >>> rows = Rows(np.array([[0.0]]), ("svm",), np.zeros(1), np.zeros(1, int))
    >>> Sigmoid(a=-2.0, b=0.0).apply(rows).values
    array([[0.5]])
    """

    a: float
    b: float

    place: ClassVar[float] = 8
    over: ClassVar[tuple[str, ...]] = ("folds",)
    probability: ClassVar[bool] = True

    def apply(self, rows: Rows) -> Rows:
        """Return probabilities."""
        z = np.clip(self.a * rows.values + self.b, -700.0, 700.0)
        return replace(rows, 1.0 / (1.0 + np.exp(z)), rows.columns)
