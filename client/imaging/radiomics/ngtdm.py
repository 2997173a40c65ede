"""NGTDM features from differences summed together with the other matrices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from client.imaging.radiomics.jit import compiled
from client.imaging.radiomics.seen import Seen

Doubles = NDArray[np.float64]


def features(seen: Seen) -> Mapping[str, float]:
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
