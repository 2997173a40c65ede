"""GLDM features from dependences that were counted with everything else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from radiomics.gldm import RadiomicsGLDM

from client.imaging.radiomics.prepared import Prepared


class GLDM(Prepared, RadiomicsGLDM):  # type: ignore[misc]  # PyRadiomics has no types
    """PyRadiomics' class and formulas; only the counting is another."""

    gldm_a = 0

    def _calculateMatrix(self, voxelCoordinates: None = None) -> NDArray[np.float64]:
        counts = self.seen.texture.matrices.dependences
        sizes = np.flatnonzero(counts.any(axis=0))
        matrix = np.ascontiguousarray(counts[:, sizes][None], dtype=np.float64)
        values = self.coefficients
        values["pd"] = np.sum(matrix, 1)
        values["pg"] = np.sum(matrix, 2)
        values["Nz"] = np.sum(values["pd"], 1)
        values["ivector"] = values["grayLevels"].astype(float)
        values["jvector"] = sizes + 1.0
        return matrix
