"""GLSZM features from connected zones that were joined with everything else."""

from __future__ import annotations

from collections.abc import Mapping

from radiomics.glszm import RadiomicsGLSZM

from client.imaging.radiomics.prepared import Prepared
from client.imaging.radiomics.sizes import named, size_features

NAMES = (
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


class GLSZM(Prepared, RadiomicsGLSZM):  # type: ignore[misc]  # PyRadiomics has no types
    """On a matrix of the zone sizes that occur, not of every size up to the largest."""

    def computed(self) -> Mapping[str, float]:
        made, present = self.seen.texture.matrices, self.seen.texture.levels.present
        return named(size_features(made.zones, present, made.zone_sizes), NAMES)
