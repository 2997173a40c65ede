"""GLSZM features from connected zones joined together with the other matrices."""

from __future__ import annotations

from collections.abc import Mapping

from client.imaging.radiomics.seen import Seen
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


def features(seen: Seen) -> Mapping[str, float]:
    """Return the features by name, from the zone sizes that occur."""
    made, present = seen.texture.matrices, seen.texture.levels.present
    return named(size_features(made.zones, present, made.zone_sizes), NAMES)
