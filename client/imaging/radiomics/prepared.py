"""What PyRadiomics' feature classes are given instead of images: values and levels of the ROI."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from numpy.typing import NDArray

from client.imaging.radiomics.matrices import Texture


@dataclass(frozen=True)
class Seen:
    """One image type as the feature classes see it.

    Parameters
    ----------
    values : (n,) of the ROI's voxels in raster order.
    spacing : x, y, z in mm.
    texture : its levels and their matrices.
    settings : PyRadiomics' settings for this image type.
    """

    values: NDArray[Any]
    spacing: tuple[float, ...]
    texture: Texture
    settings: Mapping[str, Any]


class Prepared:
    """Mixed into a feature class of PyRadiomics: replaces its reading, cropping and binning.

    The class keeps its names, its formulas and the way it runs them.
    """

    coefficients: dict[str, Any]

    def __init__(self, seen: Seen) -> None:
        self.logger = logging.getLogger("radiomics")
        self.seen = seen
        self.settings = dict(seen.settings)
        self.label = self.settings.get("label", 1)
        self.voxelBased = False
        self.enabledFeatures: dict[str, bool] = {}
        self.featureValues: dict[str, Any] = {}
        self.featureNames = names_of(type(self))
        levels = seen.texture.levels
        self.coefficients = {"grayLevels": levels.present, "Ng": int(levels.present[-1])}


@cache
def names_of(kind: Any) -> dict[str, bool]:
    """Return the features of a class, and whether each is deprecated; looked up once a process."""
    found: dict[str, bool] = kind.getFeatureNames()
    return found
