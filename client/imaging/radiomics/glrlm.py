"""GLRLM features from runs that were counted with everything else."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from client.imaging.radiomics.jit import compiled
from client.imaging.radiomics.seen import Seen
from client.imaging.radiomics.sizes import named, size_features

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

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

    An angle along which no line meets two voxels says nothing.
    """
    levels = seen.texture.levels
    if not levels.region.crossed.any():
        return dict.fromkeys(NAMES, np.nan)
    runs = seen.texture.matrices.runs
    return named(_mean(runs, levels.region.crossed, levels.present), NAMES)


@compiled
def _mean(runs: NDArray[np.int32], crossed: NDArray[np.bool_], present: Ints) -> Doubles:
    """Return the mean of the features of the angles that count."""
    lengths = np.arange(1, runs.shape[2] + 1)
    total = np.zeros(16)
    for angle in range(len(runs)):
        if crossed[angle]:
            total += size_features(runs[angle], present, lengths)
    return total / crossed.sum()
