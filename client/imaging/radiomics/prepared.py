"""Give PyRadiomics' feature classes values and levels of the ROI instead of images."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

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

    Names, and which features are wanted, stay the class's. `computed` gives features that are
    replaced; the others are asked of the class, one by one.
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
        self.featureNames = names_of(cast(Hashable, type(self)))
        levels = seen.texture.levels
        self.coefficients = {"grayLevels": levels.present, "Ng": int(levels.present[-1])}

    def computed(self) -> Mapping[str, float]:
        """Return the replaced features by name; empty = the original formulas have to do."""
        return {}

    def _calculateSegment(self) -> None:
        found = self.computed()
        wanted = [name for name, enabled in self.enabledFeatures.items() if enabled]
        if found and all(name in found for name in wanted):
            self.featureValues = {name: found[name] for name in wanted}
        else:
            super()._calculateSegment()  # type: ignore[misc]  # of the class it is mixed into


@cache
def names_of(kind: Hashable) -> dict[str, bool]:
    """Return the features of a class, and whether each is deprecated; looked up once a process."""
    found: dict[str, bool] = cast(Any, kind).getFeatureNames()
    return found
