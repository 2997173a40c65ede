"""GLCM features over the pairs that occur, some angles at a time."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from radiomics.glcm import RadiomicsGLCM

from client.imaging.radiomics.firstorder import power
from client.imaging.radiomics.jit import compiled
from client.imaging.radiomics.matrices import Seen, Texture, pair_keys

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_EPS = np.spacing(1)
_ROWS = 256
"""Rows at a time of the products of two margins."""
_ENTRIES = 200_000
"""Most matrix entries processed at a time, if one angle has no more."""

_JOINT = "Autocorrelation JointAverage JointEnergy JointEntropy MaximumProbability SumSquares"
_CLUSTERS = "ClusterProminence ClusterShade ClusterTendency Contrast Correlation Imc1 Imc2"
_SUMS = "DifferenceAverage DifferenceEntropy DifferenceVariance SumEntropy"
_INVERSE = "Id Idm Idmn Idn InverseVariance"
NAMES = frozenset(f"{_JOINT} {_CLUSTERS} {_SUMS} {_INVERSE}".split())

(
    _JOINT_ENTROPY,
    _MARGIN_ENTROPY,
    _AUTOCORRELATION,
    _PROMINENCE,
    _SHADE,
    _TENDENCY,
    _CONTRAST,
    _VARIANCE_X,
    _VARIANCE_Y,
    _COVARIANCE,
    _ENERGY,
    _LARGEST,
) = range(12)


@dataclass(frozen=True)
class Pairs:
    """Nonzero entries of the symmetric matrices, row by row within each angle.

    `first` (angles + 1,) is where an angle begins.
    """

    first: Ints
    row: Ints
    column: Ints
    p: Doubles


def features(seen: Seen, wanted: Sequence[str]) -> Mapping[str, float]:
    """Return the wanted features by name, from lists of pairs instead of whole matrices.

    Each sum adds the same numbers in the same order as numpy does over the whole matrix: all others
    are zero. Imc2 is a root of the difference of two such sums, so the last bit can show. Over a
    single angle numpy adds in another order: there, and for the two features that are not replaced,
    the whole matrix is made and the original formulas are used.
    """
    texture, present = seen.texture, seen.texture.levels.present
    angles = angles_with_pairs(texture)
    if len(present) == 1:
        return _flat(
            int(present[0]), len(angles), bool(texture.levels.region.paired.any()), tuple(wanted)
        )
    if len(angles) < 2 or not NAMES.issuperset(wanted):
        matrix = _matrix(pairs_of(texture, angles), len(present))
        found: Mapping[str, float] = _Original(matrix, present, wanted).execute()
        return found
    gray, ng = present.astype(np.float64), int(present[-1])
    together = max(1, _ENTRIES // len(present) ** 2)
    parts = [
        _by_angle(pairs_of(texture, angles[start : start + together]), gray, ng)
        for start in range(0, len(angles), together)
    ]
    names = list(parts[0])
    shares = np.concatenate([[part[name] for name in names] for part in parts], axis=1)
    return dict(zip(names, np.nanmean(shares, axis=1).tolist(), strict=True))


class _Original(RadiomicsGLCM):  # type: ignore[misc]  # PyRadiomics has no types
    """PyRadiomics' formulas on a matrix (1, levels, levels, angles)."""

    def __init__(self, matrix: Doubles, present: Ints, wanted: Sequence[str]) -> None:
        self.logger = logging.getLogger("radiomics")
        self.voxelBased = False
        self.symmetricalGLCM = True
        self.enabledFeatures = dict.fromkeys(wanted, True)
        self.featureValues: dict[str, Any] = {}
        self.coefficients = {"grayLevels": present, "Ng": int(present[-1])}
        self.P_glcm = matrix

    def _initCalculation(self, voxelCoordinates: None = None) -> None:
        self._calculateCoefficients()


@cache
def _flat(level: int, angles: int, paired: bool, wanted: tuple[str, ...]) -> Mapping[str, float]:
    """Return the features of an ROI of a single level, the same for every image."""
    matrix = np.full((1, 1, 1, angles), 1.0 if paired else np.nan)
    found = _Original(matrix, np.array([level]), wanted).execute()
    return {name: float(value) for name, value in found.items()}


def angles_with_pairs(texture: Texture) -> Ints:
    """Return the angles along which two voxels are neighbours; an only angle is kept anyway."""
    paired = texture.levels.region.paired
    return np.arange(1) if len(paired) == 1 else np.flatnonzero(paired)


def pairs_of(texture: Texture, angles: Ints) -> Pairs:
    """List the pairs along some angles, both ways round."""
    levels, counts = texture.levels, texture.matrices.pairs
    if counts.size:
        return Pairs(*_listed(counts, angles))
    n, region = len(levels.present), levels.region
    first, rows, columns, shares = [0], [], [], []
    for angle in angles:
        keys = pair_keys(levels.ranks, region.places, region.steps[angle], n)
        found, times = np.unique(keys, return_counts=True)
        rows.append(found // n)
        columns.append(found % n)
        shares.append(times / times.sum())
        first.append(first[-1] + len(found))
    return Pairs(
        np.array(first), np.concatenate(rows), np.concatenate(columns), np.concatenate(shares)
    )


def _by_angle(pairs: Pairs, gray: Doubles, ng: int) -> dict[str, Doubles]:
    """Return each feature of each angle (angles,)."""
    px, ux, uy, plus, minus = _marginals(pairs.first, pairs.row, pairs.column, pairs.p, gray, ng)
    deviation, both = _terms(pairs.first, pairs.row, pairs.column, gray, px, ux, uy)
    sums = _sums(
        pairs.first,
        pairs.row,
        pairs.column,
        pairs.p,
        gray,
        ux,
        uy,
        np.log2(pairs.p + _EPS),
        np.log2(both + _EPS),
        power(deviation, 4),
        power(deviation, 3),
        deviation,
    )
    k = np.arange(ng, dtype=np.float64)[:, None]
    entropy = -sums[_JOINT_ENTROPY]
    average = np.sum(k * minus, 0)
    sigmas = sums[_VARIANCE_X] ** 0.5 * sums[_VARIANCE_Y] ** 0.5
    correlation = sums[_COVARIANCE] / (sigmas + _EPS)
    correlation[sigmas == 0] = 1
    return {
        "Autocorrelation": sums[_AUTOCORRELATION],
        "JointAverage": ux,
        "ClusterProminence": sums[_PROMINENCE],
        "ClusterShade": sums[_SHADE],
        "ClusterTendency": sums[_TENDENCY],
        "Contrast": sums[_CONTRAST],
        "Correlation": correlation,
        "DifferenceAverage": average,
        "DifferenceEntropy": -np.sum(minus * np.log2(minus + _EPS), 0),
        "DifferenceVariance": np.sum(minus * (k - average) ** 2, 0),
        "JointEnergy": sums[_ENERGY],
        "JointEntropy": entropy,
        "Imc1": _imc1(entropy, -sums[_MARGIN_ENTROPY], px),
        "Imc2": _imc2(entropy, px),
        "Idm": np.sum(minus / (1 + k**2), 0),
        "Idmn": np.sum(minus / (1 + k**2 / ng**2), 0),
        "Id": np.sum(minus / (1 + k), 0),
        "Idn": np.sum(minus / (1 + k / ng), 0),
        "InverseVariance": np.sum(minus[1:] / k[1:] ** 2, 0),
        "MaximumProbability": sums[_LARGEST],
        "SumEntropy": -np.sum(plus * np.log2(plus + _EPS), 0),
        "SumSquares": sums[_VARIANCE_X],
    }


def _imc1(hxy: Doubles, hxy1: Doubles, px: Doubles) -> Doubles:
    hx = -np.sum(px * np.log2(px + _EPS), 0)
    difference: Doubles = hxy - hxy1
    return np.where(hx == 0, 0, difference / np.where(hx == 0, 1, hx))


def _imc2(hxy: Doubles, px: Doubles) -> Doubles:
    hxy2 = np.zeros(len(hxy))
    for start in range(0, len(px), _ROWS):
        both = px[start : start + _ROWS, None, :] * px[None]
        hxy2 -= np.sum(both * np.log2(both + _EPS), (0, 1))
    imc2: Doubles = (1 - np.e ** (-2 * (hxy2 - hxy))) ** 0.5
    imc2[hxy2 == hxy] = 0
    return imc2


def _matrix(pairs: Pairs, levels: int) -> Doubles:
    """Return P (1, levels, levels, angles); an angle without pairs is missing."""
    angles = len(pairs.first) - 1
    matrix = np.zeros((1, levels, levels, angles))
    for a in range(angles):
        part = slice(pairs.first[a], pairs.first[a + 1])
        matrix[0, pairs.row[part], pairs.column[part], a] = pairs.p[part]
        if part.start == part.stop:
            matrix[..., a] = np.nan
    return matrix


@compiled
def _listed(counts: NDArray[np.int32], angles: Ints) -> tuple[Ints, Ints, Ints, Doubles]:
    """List the entries of counts + counts.T that are not zero, as shares of their sum."""
    n = counts.shape[1]
    first = np.zeros(len(angles) + 1, dtype=np.int64)
    for a in range(len(angles)):
        one = counts[angles[a]]
        found = 0
        for i in range(n):
            for j in range(n):
                if one[i, j] + one[j, i] > 0:
                    found += 1
        first[a + 1] = first[a] + found
    rows = np.empty(first[-1], dtype=np.int64)
    columns = np.empty(first[-1], dtype=np.int64)
    shares = np.empty(first[-1])
    k = 0
    for a in range(len(angles)):
        one = counts[angles[a]]
        total = 0.0
        for i in range(n):
            for j in range(n):
                total += 2.0 * one[i, j]
        for i in range(n):
            for j in range(n):
                count = one[i, j] + one[j, i]
                if count > 0:
                    rows[k] = i
                    columns[k] = j
                    shares[k] = count / total
                    k += 1
    return first, rows, columns, shares


@compiled
def _marginals(
    first: Ints, row: Ints, column: Ints, p: Doubles, gray: Doubles, ng: int
) -> tuple[Doubles, Doubles, Doubles, Doubles, Doubles]:
    """Return p_x, its mean and that of p_y, p_(x+y) from 2 on and p_(x-y) from 0 on, by angle."""
    angles = len(first) - 1
    margin = np.zeros((len(gray), angles))
    plus = np.zeros((2 * ng - 1, angles))
    minus = np.zeros((ng, angles))
    ux = np.zeros(angles)
    uy = np.zeros(angles)
    for a in range(angles):
        for k in range(first[a], first[a + 1]):
            i, j = gray[row[k]], gray[column[k]]
            margin[row[k], a] += p[k]
            ux[a] += i * p[k]
            uy[a] += j * p[k]
            plus[int(i + j) - 2, a] += p[k]
            minus[int(abs(i - j)), a] += p[k]
    return margin, ux, uy, plus, minus


@compiled
def _terms(
    first: Ints, row: Ints, column: Ints, gray: Doubles, px: Doubles, ux: Doubles, uy: Doubles
) -> tuple[Doubles, Doubles]:
    """Return i + j - u_x - u_y and p_x p_y of each entry."""
    deviation = np.empty(len(row))
    both = np.empty(len(row))
    for a in range(len(ux)):
        for k in range(first[a], first[a + 1]):
            deviation[k] = gray[row[k]] + gray[column[k]] - ux[a] - uy[a]
            both[k] = px[row[k], a] * px[column[k], a]
    return deviation, both


@compiled
def _sums(
    first: Ints,
    row: Ints,
    column: Ints,
    p: Doubles,
    gray: Doubles,
    ux: Doubles,
    uy: Doubles,
    log_p: Doubles,
    log_both: Doubles,
    fourth: Doubles,
    third: Doubles,
    deviation: Doubles,
) -> Doubles:
    """Return the sums (12, angles), added from left to right.

    Logarithms and powers come from numpy: their last bit depends on who computes them.
    """
    sums = np.zeros((12, len(ux)))
    for a in range(len(ux)):
        for k in range(first[a], first[a + 1]):
            i, j, share = gray[row[k]], gray[column[k]], p[k]
            x, y = i - ux[a], j - uy[a]
            sums[0, a] += share * log_p[k]
            sums[1, a] += share * log_both[k]
            sums[2, a] += share * (i * j)
            sums[3, a] += share * fourth[k]
            sums[4, a] += share * third[k]
            sums[5, a] += share * (deviation[k] * deviation[k])
            sums[6, a] += share * ((i - j) * (i - j))
            sums[7, a] += share * (x * x)
            sums[8, a] += share * (y * y)
            sums[9, a] += share * x * y
            sums[10, a] += share * share
            sums[11, a] = max(sums[11, a], share)
    return sums
