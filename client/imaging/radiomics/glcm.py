"""GLCM features over the pairs that occur, angle by angle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from radiomics.glcm import RadiomicsGLCM

from client.imaging.radiomics.jit import compiled
from client.imaging.radiomics.matrices import Texture, pair_keys
from client.imaging.radiomics.prepared import Prepared, Seen

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_EPS = np.spacing(1)
_ROWS = 256
"""Rows at a time of the products of two margins."""


@dataclass(frozen=True)
class Pairs:
    """The entries of one angle's symmetric matrix that are not zero, row by row."""

    row: Ints
    column: Ints
    p: Doubles


@dataclass(frozen=True)
class Sums:
    """Sums over one angle's matrix; the names are those of PyRadiomics' features and terms."""

    margin: Doubles
    ux: float
    uy: float
    plus: Doubles
    minus: Doubles
    joint_entropy: float
    margin_entropy: float
    autocorrelation: float
    prominence: float
    shade: float
    tendency: float
    contrast: float
    variance_x: float
    variance_y: float
    covariance: float
    energy: float
    largest: float


class GLCM(Prepared, RadiomicsGLCM):  # type: ignore[misc]  # PyRadiomics has no types
    """PyRadiomics' class on lists of pairs instead of matrices of levels x levels x angles.

    Each sum adds the same numbers in the same order as numpy does over the whole matrix: what is
    left out is zero. Over a single angle numpy adds in another order, so there the whole matrix is
    made and the original formulas stand.
    """

    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self.symmetricalGLCM = True
        self.weightingNorm = None
        self._sums: list[Sums] = []

    def _initCalculation(self, voxelCoordinates: None = None) -> None:
        texture, levels = self.seen.texture, self.seen.texture.levels
        angles = angles_with_pairs(texture)
        if len(angles) < 2 or len(levels.present) == 1:
            listed = [pairs_of(texture, a) for a in angles]
            self.P_glcm = _matrix(listed, len(levels.present))
            self._calculateCoefficients()
            return
        gray, ng = levels.present.astype(np.float64), self.coefficients["Ng"]
        self._sums = [_summed(pairs_of(texture, a), gray, ng) for a in angles]
        margins = np.stack([sums.margin for sums in self._sums], axis=1)
        self.coefficients |= {
            "eps": _EPS,
            "kValuesSum": np.arange(2, (ng * 2) + 1, dtype="float"),
            "kValuesDiff": np.arange(0, ng, dtype="float"),
            "px": margins[None, :, None, :],
            "py": margins[None, None, :, :],
            "ux": self._each("ux")[:, None, None],
            "pxAddy": np.stack([sums.plus for sums in self._sums], axis=1)[None],
            "pxSuby": np.stack([sums.minus for sums in self._sums], axis=1)[None],
            "HXY": -1 * self._each("joint_entropy"),
        }

    def _each(self, name: str) -> Doubles:
        """One sum of each angle, (1, angles)."""
        return np.array([[getattr(sums, name) for sums in self._sums]])

    def _mean(self, name: str, original: str) -> Doubles:
        """Mean of a sum over the angles; the original's value where the matrix is whole."""
        if not self._sums:
            whole: Doubles = getattr(super(), f"get{original}FeatureValue")()
            return whole
        return np.nanmean(self._each(name), 1)

    def getAutocorrelationFeatureValue(self) -> Doubles:
        return self._mean("autocorrelation", "Autocorrelation")

    def getClusterProminenceFeatureValue(self) -> Doubles:
        return self._mean("prominence", "ClusterProminence")

    def getClusterShadeFeatureValue(self) -> Doubles:
        return self._mean("shade", "ClusterShade")

    def getClusterTendencyFeatureValue(self) -> Doubles:
        return self._mean("tendency", "ClusterTendency")

    def getContrastFeatureValue(self) -> Doubles:
        return self._mean("contrast", "Contrast")

    def getSumSquaresFeatureValue(self) -> Doubles:
        return self._mean("variance_x", "SumSquares")

    def getJointEnergyFeatureValue(self) -> Doubles:
        return self._mean("energy", "JointEnergy")

    def getMaximumProbabilityFeatureValue(self) -> Doubles:
        return self._mean("largest", "MaximumProbability")

    def getCorrelationFeatureValue(self) -> Doubles:
        if not self._sums:
            return super().getCorrelationFeatureValue()
        sigmas = self._each("variance_x") ** 0.5 * self._each("variance_y") ** 0.5
        correlation = self._each("covariance") / (sigmas + _EPS)
        correlation[sigmas == 0] = 1
        return np.nanmean(correlation, 1)

    def getImc1FeatureValue(self) -> Doubles:
        if not self._sums:
            return super().getImc1FeatureValue()
        px = self.coefficients["px"]
        hx = -1 * np.sum(px * np.log2(px + _EPS), (1, 2))
        imc1 = self.coefficients["HXY"] - -1 * self._each("margin_entropy")
        imc1[hx != 0] /= hx[hx != 0]
        imc1[hx == 0] = 0
        return np.nanmean(imc1, 1)

    def getImc2FeatureValue(self) -> Doubles:
        px, py = self.coefficients["px"], self.coefficients["py"]
        if px.shape[1] <= _ROWS:
            return super().getImc2FeatureValue()
        hxy, hxy2 = self.coefficients["HXY"], np.zeros((1, px.shape[3]))
        for start in range(0, px.shape[1], _ROWS):
            both = px[:, start : start + _ROWS] * py
            hxy2 -= np.sum(both * np.log2(both + _EPS), (1, 2))
        imc2 = (1 - np.e ** (-2 * (hxy2 - hxy))) ** 0.5
        imc2[hxy2 == hxy] = 0
        return np.nanmean(imc2, 1)


def angles_with_pairs(texture: Texture) -> list[int]:
    """Return the angles along which two voxels are neighbours; the only one in any case."""
    paired = texture.levels.region.paired
    return [0] if len(paired) == 1 else [int(a) for a in np.flatnonzero(paired)]


def pairs_of(texture: Texture, angle: int) -> Pairs:
    """List the pairs along an angle, both ways round."""
    levels, counts = texture.levels, texture.matrices.pairs
    if counts.size:
        row, column, number = _listed(counts[angle])
    else:
        n, region = len(levels.present), levels.region
        keys = pair_keys(levels.ranks, region.places, region.steps[angle], n)
        found, times = np.unique(keys, return_counts=True)
        row, column, number = found // n, found % n, times.astype(np.float64)
    return Pairs(row, column, number / number.sum() if len(number) else number)


def _summed(pairs: Pairs, gray: Doubles, ng: int) -> Sums:
    margin, ux, uy, plus, minus = _marginals(pairs.row, pairs.column, pairs.p, gray, ng)
    p, i, j = pairs.p, gray[pairs.row], gray[pairs.column]
    deviation = i + j - ux - uy
    return Sums(
        margin,
        ux,
        uy,
        plus,
        minus,
        joint_entropy=_total(p * np.log2(p + _EPS)),
        margin_entropy=_total(p * np.log2(margin[pairs.row] * margin[pairs.column] + _EPS)),
        autocorrelation=_total(p * (i * j)),
        prominence=_total(p * deviation**4),
        shade=_total(p * deviation**3),
        tendency=_total(p * deviation**2),
        contrast=_total(p * np.abs(i - j) ** 2),
        variance_x=_total(p * (i - ux) ** 2),
        variance_y=_total(p * (j - uy) ** 2),
        covariance=_total(p * (i - ux) * (j - uy)),
        energy=_total(p**2),
        largest=float(p.max()),
    )


def _matrix(listed: list[Pairs], levels: int) -> Doubles:
    """Return P (1, levels, levels, angles); an angle without pairs is missing."""
    matrix = np.zeros((1, levels, levels, len(listed)))
    for a, pairs in enumerate(listed):
        matrix[0, pairs.row, pairs.column, a] = pairs.p
        if not len(pairs.p):
            matrix[..., a] = np.nan
    return matrix


@compiled
def _listed(counts: NDArray[np.int32]) -> tuple[Ints, Ints, Doubles]:
    """List the entries of counts + counts.T that are not zero, row by row."""
    n = len(counts)
    found = 0
    for i in range(n):
        for j in range(n):
            if counts[i, j] + counts[j, i] > 0:
                found += 1
    rows = np.empty(found, dtype=np.int64)
    columns = np.empty(found, dtype=np.int64)
    values = np.empty(found)
    k = 0
    for i in range(n):
        for j in range(n):
            count = counts[i, j] + counts[j, i]
            if count > 0:
                rows[k] = i
                columns[k] = j
                values[k] = count
                k += 1
    return rows, columns, values


@compiled
def _marginals(
    row: Ints, column: Ints, p: Doubles, gray: Doubles, ng: int
) -> tuple[Doubles, float, float, Doubles, Doubles]:
    """Return p_x, its mean and that of p_y, p_(x+y) from 2 on and p_(x-y) from 0 on."""
    margin = np.zeros(len(gray))
    plus = np.zeros(2 * ng - 1)
    minus = np.zeros(ng)
    ux = 0.0
    uy = 0.0
    for k in range(len(p)):
        i, j = gray[row[k]], gray[column[k]]
        margin[row[k]] += p[k]
        ux += i * p[k]
        uy += j * p[k]
        plus[int(i + j) - 2] += p[k]
        minus[int(abs(i - j))] += p[k]
    return margin, ux, uy, plus, minus


@compiled
def _total(terms: Doubles) -> float:
    """Add up from left to right; numpy would add in pairs."""
    total = 0.0
    for k in range(len(terms)):
        total += terms[k]
    return total
