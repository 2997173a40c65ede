"""GLDM features from dependences that were counted with everything else."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from radiomics.gldm import RadiomicsGLDM

from client.imaging.radiomics.prepared import Prepared
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


class GLDM(Prepared, RadiomicsGLDM):  # type: ignore[misc]  # PyRadiomics has no types
    """A voxel with k equal neighbours counts as a dependence of size k + 1."""

    def computed(self) -> Mapping[str, float]:
        counts, present = self.seen.texture.matrices.dependences, self.seen.texture.levels.present
        return named(size_features(counts, present, np.arange(1, counts.shape[1] + 1)), NAMES)
