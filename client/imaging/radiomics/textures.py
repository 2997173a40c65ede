"""Texture features (GLRLM, GLSZM, GLDM, NGTDM) from matrices that are counted together.

The first three are features of a grey level x size matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.imaging.radiomics.jit import compiled
from client.imaging.radiomics.matrices import Seen

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_EPS = float(np.spacing(1))

SHORT, LONG, GRAY_UNEVEN, GRAY_UNEVEN_NORMAL, SIZE_UNEVEN, SIZE_UNEVEN_NORMAL = range(6)
PERCENTAGE, GRAY_VARIANCE, SIZE_VARIANCE, ENTROPY, LOW, HIGH = range(6, 12)
SHORT_LOW, SHORT_HIGH, LONG_LOW, LONG_HIGH = range(12, 16)


@compiled
def size_features(counts: NDArray[Any], gray: Ints, sizes: Ints) -> Doubles:
    """Return the 16 features of counts (levels, sizes), in the order of the names above.

    Written as in the definitions: j is a size, i a grey level, n the sum of the counts.
    """
    found = np.zeros(16)
    by_gray = np.zeros(len(gray))
    by_size = np.zeros(len(sizes))
    n = 0.0
    for g in range(len(gray)):
        for s in range(len(sizes)):
            count = counts[g, s]
            by_gray[g] += count
            by_size[s] += count
            n += count
    voxels = 0.0
    mean_size = 0.0
    for s in range(len(sizes)):
        j, count = float(sizes[s]), by_size[s]
        found[SHORT] += count / (j * j)
        found[LONG] += count * (j * j)
        found[SIZE_UNEVEN] += count * count
        voxels += count * j
        mean_size += count / n * j
    mean_gray = 0.0
    for g in range(len(gray)):
        i, count = float(gray[g]), by_gray[g]
        found[GRAY_UNEVEN] += count * count
        found[LOW] += count / (i * i)
        found[HIGH] += count * (i * i)
        mean_gray += count / n * i
    for s in range(len(sizes)):
        found[SIZE_VARIANCE] += by_size[s] / n * (sizes[s] - mean_size) ** 2
    for g in range(len(gray)):
        found[GRAY_VARIANCE] += by_gray[g] / n * (gray[g] - mean_gray) ** 2
        ii = float(gray[g]) * gray[g]
        for s in range(len(sizes)):
            if counts[g, s] > 0:
                count = float(counts[g, s])
                jj = float(sizes[s]) * sizes[s]
                p = count / n
                found[ENTROPY] -= p * np.log2(p + _EPS)
                found[SHORT_LOW] += count / (ii * jj)
                found[SHORT_HIGH] += count * ii / jj
                found[LONG_LOW] += count * jj / ii
                found[LONG_HIGH] += count * (jj * ii)
    for k in (SHORT, LONG, LOW, HIGH, SHORT_LOW, SHORT_HIGH, LONG_LOW, LONG_HIGH):
        found[k] /= n
    found[GRAY_UNEVEN_NORMAL] = found[GRAY_UNEVEN] / n**2
    found[SIZE_UNEVEN_NORMAL] = found[SIZE_UNEVEN] / n**2
    found[GRAY_UNEVEN] /= n
    found[SIZE_UNEVEN] /= n
    found[PERCENTAGE] = n / voxels
    return found


def named(found: Doubles, names: Sequence[str | None]) -> Mapping[str, float]:
    """Name the features of a class; None = it does not have that one."""
    return {
        name: value for name, value in zip(names, found.tolist(), strict=True) if name is not None
    }


GLRLM_NAMES = (
    "ShortRunEmphasis",
    "LongRunEmphasis",
    "GrayLevelNonUniformity",
    "GrayLevelNonUniformityNormalized",
    "RunLengthNonUniformity",
    "RunLengthNonUniformityNormalized",
    "RunPercentage",
    "GrayLevelVariance",
    "RunVariance",
    "RunEntropy",
    "LowGrayLevelRunEmphasis",
    "HighGrayLevelRunEmphasis",
    "ShortRunLowGrayLevelEmphasis",
    "ShortRunHighGrayLevelEmphasis",
    "LongRunLowGrayLevelEmphasis",
    "LongRunHighGrayLevelEmphasis",
)


def glrlm_features(seen: Seen) -> Mapping[str, float]:
    """Return the features by name, the mean over the angles; NaN where the ROI has no run.

    An angle along which no line meets two voxels is left out.
    """
    levels = seen.texture.levels
    if not levels.region.crossed.any():
        return dict.fromkeys(GLRLM_NAMES, np.nan)
    lengths = np.arange(1, seen.texture.matrices.runs.shape[2] + 1)
    runs = seen.texture.matrices.runs[levels.region.crossed]
    found = [size_features(one, levels.present, lengths) for one in runs]
    return named(np.mean(found, axis=0), GLRLM_NAMES)


GLSZM_NAMES = (
    "SmallAreaEmphasis",
    "LargeAreaEmphasis",
    "GrayLevelNonUniformity",
    "GrayLevelNonUniformityNormalized",
    "SizeZoneNonUniformity",
    "SizeZoneNonUniformityNormalized",
    "ZonePercentage",
    "GrayLevelVariance",
    "ZoneVariance",
    "ZoneEntropy",
    "LowGrayLevelZoneEmphasis",
    "HighGrayLevelZoneEmphasis",
    "SmallAreaLowGrayLevelEmphasis",
    "SmallAreaHighGrayLevelEmphasis",
    "LargeAreaLowGrayLevelEmphasis",
    "LargeAreaHighGrayLevelEmphasis",
)


def glszm_features(seen: Seen) -> Mapping[str, float]:
    """Return the features by name, from the zone sizes that occur."""
    made, present = seen.texture.matrices, seen.texture.levels.present
    return named(size_features(made.zones, present, made.zone_sizes), GLSZM_NAMES)


GLDM_NAMES = (
    "SmallDependenceEmphasis",
    "LargeDependenceEmphasis",
    "GrayLevelNonUniformity",
    None,
    "DependenceNonUniformity",
    "DependenceNonUniformityNormalized",
    None,
    "GrayLevelVariance",
    "DependenceVariance",
    "DependenceEntropy",
    "LowGrayLevelEmphasis",
    "HighGrayLevelEmphasis",
    "SmallDependenceLowGrayLevelEmphasis",
    "SmallDependenceHighGrayLevelEmphasis",
    "LargeDependenceLowGrayLevelEmphasis",
    "LargeDependenceHighGrayLevelEmphasis",
)


def gldm_features(seen: Seen) -> Mapping[str, float]:
    """Return the features by name; k equal neighbours are a dependence of size k + 1."""
    counts, present = seen.texture.matrices.dependences, seen.texture.levels.present
    return named(size_features(counts, present, np.arange(1, counts.shape[1] + 1)), GLDM_NAMES)


def ngtdm_features(seen: Seen) -> Mapping[str, float]:
    """Return the features by name; PyRadiomics holds matrices of levels x levels for them."""
    levels, s = seen.texture.levels, seen.texture.matrices.differences
    n, count = levels.counts.sum(), len(levels.present)
    p = levels.counts / n
    contrast, busyness, complexity, strength = _pairs(p, s, levels.present.astype(np.float64))
    total, weighted = float(s.sum()), float((p * s).sum())
    return {
        "Coarseness": 1 / weighted if weighted != 0 else 1000000.0,
        "Contrast": contrast * total / n / (count * (count - 1)) if count > 1 else 0.0,
        "Busyness": weighted / busyness if busyness != 0 else 0.0,
        "Complexity": complexity / n,
        "Strength": strength / total if total != 0 else 0.0,
    }


@compiled
def _pairs(p: Doubles, s: Doubles, gray: Doubles) -> tuple[float, float, float, float]:
    """Return the sums over pairs of levels; every level occurs, p is its share of the voxels."""
    contrast = 0.0
    busyness = 0.0
    complexity = 0.0
    strength = 0.0
    for one in range(len(p)):
        for two in range(len(p)):
            apart = gray[one] - gray[two]
            contrast += p[one] * p[two] * apart**2
            busyness += abs(gray[one] * p[one] - gray[two] * p[two])
            weight = (p[one] * s[one] + p[two] * s[two]) / (p[one] + p[two])
            complexity += abs(apart) * weight
            strength += (p[one] + p[two]) * apart**2
    return contrast, busyness, complexity, strength
