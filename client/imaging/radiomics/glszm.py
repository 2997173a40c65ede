"""GLSZM features from connected zones that were joined with everything else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from radiomics.glszm import RadiomicsGLSZM

from client.imaging.radiomics.prepared import Prepared


class GLSZM(Prepared, RadiomicsGLSZM):  # type: ignore[misc]  # PyRadiomics has no types
    """PyRadiomics' class and formulas on a matrix of the zone sizes that occur.

    The original has a column for every size up to the largest, and drops the empty ones.
    """

    def _calculateMatrix(self, voxelCoordinates: None = None) -> NDArray[np.float64]:
        return self.seen.texture.matrices.zones[None].astype(np.float64)

    def _calculateCoefficients(self) -> None:
        values = self.coefficients
        values["ps"] = np.sum(self.P_glszm, 1)
        values["pg"] = np.sum(self.P_glszm, 2)
        values["ivector"] = values["grayLevels"].astype(float)
        values["jvector"] = self.seen.texture.matrices.zone_sizes.astype(np.float64)
        values["Nz"] = np.sum(self.P_glszm, (1, 2))
        values["Np"] = np.sum(values["ps"] * values["jvector"][None, :], 1)
