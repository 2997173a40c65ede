"""GLRLM features from runs that were counted with everything else."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from radiomics.glrlm import RadiomicsGLRLM

from client.imaging.radiomics.prepared import Prepared
from client.imaging.radiomics.sizes import named, size_features

NAMES = (
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


class GLRLM(Prepared, RadiomicsGLRLM):  # type: ignore[misc]  # PyRadiomics has no types
    """Mean over the angles; one along which no line meets two voxels says nothing."""

    def computed(self) -> Mapping[str, float]:
        """Return the features by name; NaN where the ROI has no run."""
        levels = self.seen.texture.levels
        runs = self.seen.texture.matrices.runs[levels.region.crossed]
        if not len(runs):
            return dict.fromkeys(NAMES, np.nan)
        longest = int(np.flatnonzero(runs.any(axis=(0, 1)))[-1]) + 1
        lengths = np.arange(1, longest + 1)
        short = np.ascontiguousarray(runs[:, :, :longest])
        found = [size_features(one, levels.present, lengths) for one in short]
        return named(np.mean(found, axis=0), NAMES)
