"""Nystroem map of the RBF kernel as a fitted step."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from common.learning.nystroem import rbf_kernel
from common.messages.plain import plain
from common.statistics.base import Float, Rows
from common.transforms.base import Columns, Transform, expect, positions, replace


@plain
class KernelMap(Transform):
    """Compute exp(-gamma |x - landmark|^2) @ projection, whose inner products are the kernel.

    Parameters
    ----------
    columns : the p input columns.
    landmarks : float64 (m, p), synthetic; see `common.learning.nystroem.synthetic_landmarks`.
    gamma : of the RBF kernel.
    projection : float64 (m, k); see `common.learning.nystroem.nystroem_map`.
    names : the k output columns.

    Examples
    --------
    >>> import numpy as np
    >>> rows = Rows(np.array([[1.0]]), ("a",), np.zeros(1), np.zeros(1, int))
    >>> KernelMap(("a",), np.array([[1.0]]), 0.5, np.array([[1.0]]), ("k1",)).apply(rows).values
    array([[1.]])
    """

    columns: Columns
    landmarks: Float
    gamma: float
    projection: Float
    names: Columns

    place: ClassVar[float] = 6
    shape: ClassVar[str] = "common"

    def apply(self, rows: Rows) -> Rows:
        """Return the features of the map; missing values stay missing."""
        expect(rows, self.columns, "KernelMap")
        kernel = rbf_kernel(rows.values, self.landmarks, self.gamma)
        return replace(rows, kernel @ self.projection, self.names)

    def outputs(self) -> Columns:
        """Return the names of the features."""
        return self.names

    def restrict(self, wanted: Columns) -> tuple[KernelMap, Columns]:
        """Keep fewer features; all input columns are still needed."""
        projection = self.projection[:, positions(self.names, wanted)]
        return dataclasses.replace(self, projection=projection, names=wanted), self.columns

    def bound(self, before: float) -> float:
        """Return the bound of the input: it limits how far a kernel can tell two patients apart."""
        return before
