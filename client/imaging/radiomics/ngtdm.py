"""NGTDM features from differences that were summed with everything else."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from client.imaging.radiomics.jit import compiled
from client.imaging.radiomics.seen import Seen

Doubles = NDArray[np.float64]

NAMES = ("Coarseness", "Contrast", "Busyness", "Complexity", "Strength")


def features(seen: Seen) -> Mapping[str, float]:
    """Return the features by name; PyRadiomics holds matrices of levels x levels for them."""
    levels, texture = seen.texture.levels, seen.texture
    found = _features(
        levels.counts.astype(np.float64),
        texture.matrices.differences,
        levels.present.astype(np.float64),
    )
    return dict(zip(NAMES, found.tolist(), strict=True))


@compiled
def _features(counts: Doubles, s: Doubles, gray: Doubles) -> Doubles:
    """Return the five features; every level occurs, p is its share of the voxels."""
    n = counts.sum()
    p = counts / n
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
    total = s.sum()
    weighted = (p * s).sum()
    levels = len(p)
    found = np.zeros(5)
    found[0] = 1 / weighted if weighted != 0 else 1000000.0
    found[1] = contrast * total / n / (levels * (levels - 1)) if levels > 1 else 0.0
    found[2] = weighted / busyness if busyness != 0 else 0.0
    found[3] = complexity / n
    found[4] = strength / total if total != 0 else 0.0
    return found
