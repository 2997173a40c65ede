"""GLRLM features from runs that were counted with everything else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from radiomics.glrlm import RadiomicsGLRLM

from client.imaging.radiomics.prepared import Prepared


class GLRLM(Prepared, RadiomicsGLRLM):  # type: ignore[misc]  # PyRadiomics has no types
    """PyRadiomics' class and formulas; only the counting is another."""

    weightingNorm = None  # noqa: N815 - the original's name

    def _calculateMatrix(self, voxelCoordinates: None = None) -> NDArray[np.float64]:
        runs = self.seen.texture.matrices.runs
        crossed = self.seen.texture.levels.region.crossed
        # an angle along which no two voxels lie says nothing, and is left out unless it is the only
        runs = runs[crossed] if len(runs) > 1 else np.where(crossed[:, None, None], runs, 0)
        longest = int(np.flatnonzero(runs.any(axis=(0, 1)))[-1]) + 1 if runs.any() else 1
        matrix = np.ascontiguousarray(runs[:, :, :longest].transpose(1, 2, 0)[None], dtype=float)
        number = np.sum(matrix, (1, 2))
        number[number == 0] = np.nan
        self.coefficients["Nr"] = number
        return matrix
