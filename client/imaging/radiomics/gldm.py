"""GLDM features from dependences counted together with the other matrices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from client.imaging.radiomics.seen import Seen
from client.imaging.radiomics.sizes import named, size_features

NAMES = (
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


def features(seen: Seen) -> Mapping[str, float]:
    """Return the features by name; k equal neighbours are a dependence of size k + 1."""
    counts, present = seen.texture.matrices.dependences, seen.texture.levels.present
    return named(size_features(counts, present, np.arange(1, counts.shape[1] + 1)), NAMES)
