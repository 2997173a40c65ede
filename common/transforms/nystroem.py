"""The Nystroem map of the RBF kernel as a fitted step."""

from __future__ import annotations

import dataclasses

from common.learning.nystroem import rbf_kernel
from common.messages.plain import plain
from common.statistics.base import Float, Rows
from common.transforms.base import Columns, expect, positions, replace


@plain
class KernelMap:
    """exp(-gamma |x - landmark|^2) @ projection: features whose inner products are the kernel.

    Parameters
    ----------
    columns : the p input columns.
    landmarks : float64 (m, p), synthetic; see `common.learning.nystroem.synthetic_landmarks`.
    gamma : of the RBF kernel.
    projection : float64 (m, k); see `common.learning.nystroem.nystroem_map`.
    names : the k output columns.
    """

    columns: Columns
    landmarks: Float
    gamma: float
    projection: Float
    names: Columns

    def apply(self, rows: Rows) -> Rows:
        """Features of the map; missing values stay missing."""
        expect(rows, self.columns, "KernelMap")
        kernel = rbf_kernel(rows.values, self.landmarks, self.gamma)
        return replace(rows, kernel @ self.projection, self.names)

    def outputs(self) -> Columns:
        """Names of the features."""
        return self.names

    def restrict(self, wanted: Columns) -> tuple[KernelMap, Columns]:
        """Fewer features; all input columns are still needed."""
        projection = self.projection[:, positions(self.names, wanted)]
        return dataclasses.replace(self, projection=projection, names=wanted), self.columns
