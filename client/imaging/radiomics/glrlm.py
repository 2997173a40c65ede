"""GLRLM features from runs counted together with the other matrices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from client.imaging.radiomics.seen import Seen
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


def features(seen: Seen) -> Mapping[str, float]:
    """Return the features by name, the mean over the angles; NaN where the ROI has no run.

    An angle along which no line meets two voxels is left out.
    """
    levels = seen.texture.levels
    if not levels.region.crossed.any():
        return dict.fromkeys(NAMES, np.nan)
    lengths = np.arange(1, seen.texture.matrices.runs.shape[2] + 1)
    runs = seen.texture.matrices.runs[levels.region.crossed]
    found = [size_features(one, levels.present, lengths) for one in runs]
    return named(np.mean(found, axis=0), NAMES)
