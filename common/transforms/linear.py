"""Linear steps and the calibrated probability."""

from __future__ import annotations

import dataclasses

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Rows
from common.transforms.base import Columns, expect, positions, replace


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
        expect(rows, self.columns, "Project")
        return replace(rows, (rows.values - self.mean) @ self.axes, self.names)

    def outputs(self) -> Columns:
        """Names of the components."""
        return self.names

    def restrict(self, wanted: Columns) -> tuple[Project, Columns]:
        """Fewer components; all input columns are still needed."""
        axes = self.axes[:, positions(self.names, wanted)]
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
        expect(rows, self.columns, "Linear")
        value = rows.values @ self.weights + self.intercept
        return replace(rows, value[:, None], (self.name,))

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
        return replace(rows, 1.0 / (1.0 + np.exp(z)), rows.columns)

    def outputs(self) -> None:
        """As the input."""

    def restrict(self, wanted: Columns) -> tuple[Sigmoid, Columns]:
        """The same step."""
        return self, wanted
