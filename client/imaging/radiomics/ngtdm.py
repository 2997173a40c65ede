"""NGTDM features from differences that were summed with everything else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from radiomics.ngtdm import RadiomicsNGTDM

from client.imaging.radiomics.matrices import MOST_DENSE_LEVELS
from client.imaging.radiomics.prepared import Prepared

Doubles = NDArray[np.float64]

_ROWS = 64


class NGTDM(Prepared, RadiomicsNGTDM):  # type: ignore[misc]  # PyRadiomics has no types
    """PyRadiomics' class and formulas; only the counting is another.

    Its formulas hold matrices of levels x levels; with more levels than a CT has, the sums over
    them are taken in bands of rows.
    """

    def _calculateMatrix(self, voxelCoordinates: None = None) -> Doubles:
        levels = self.seen.texture.levels
        columns = (levels.counts, self.seen.texture.matrices.differences, levels.present)
        return np.stack([column.astype(np.float64) for column in columns], axis=1)[None]

    @property
    def _many(self) -> bool:
        return bool(self.P_ngtdm.shape[1] > MOST_DENSE_LEVELS)

    def getContrastFeatureValue(self) -> Doubles:
        if not self._many:
            return super().getContrastFeatureValue()
        p, s, i, n = self._columns()
        total = sum(np.sum(p[rows, None] * p * (i[rows, None] - i) ** 2) for rows in self._bands())
        levels = len(p)
        return np.array([total * np.sum(s) / n / (levels * (levels - 1))])

    def getBusynessFeatureValue(self) -> Doubles:
        if not self._many:
            return super().getBusynessFeatureValue()
        p, s, i, _ = self._columns()
        total = sum(np.sum(np.abs(i[rows, None] * p[rows, None] - i * p)) for rows in self._bands())
        return np.array([np.sum(p * s) / total if total else 0.0])

    def getComplexityFeatureValue(self) -> Doubles:
        if not self._many:
            return super().getComplexityFeatureValue()
        p, s, i, n = self._columns()
        total = sum(
            np.sum(
                np.abs(i[rows, None] - i)
                * (p[rows, None] * s[rows, None] + p * s)
                / (p[rows, None] + p)
            )
            for rows in self._bands()
        )
        return np.array([total / n])

    def getStrengthFeatureValue(self) -> Doubles:
        if not self._many:
            return super().getStrengthFeatureValue()
        p, s, i, _ = self._columns()
        total = sum(
            np.sum((p[rows, None] + p) * (i[rows, None] - i) ** 2) for rows in self._bands()
        )
        return np.array([total / np.sum(s) if np.sum(s) else 0.0])

    def _columns(self) -> tuple[Doubles, Doubles, Doubles, float]:
        values = self.coefficients
        return values["p_i"][0], values["s_i"][0], values["ivector"][0], float(values["Nvp"][0])

    def _bands(self) -> list[slice]:
        n = self.P_ngtdm.shape[1]
        return [slice(start, start + _ROWS) for start in range(0, n, _ROWS)]
