"""Input of the feature classes: one image type, and PyRadiomics' names of the features."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from numpy.typing import NDArray

from client.imaging.radiomics.matrices import Texture


@dataclass(frozen=True)
class Seen:
    """One image type, the input of the feature classes.

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


@cache
def names_of(kind: Hashable) -> dict[str, bool]:
    """Return a class's features, and whether each is deprecated; cached per process."""
    found: dict[str, bool] = cast(Any, kind).getFeatureNames()
    return found
