"""One image type as the features see it, and the names that PyRadiomics gives them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from numpy.typing import NDArray

from client.imaging.radiomics.matrices import Texture


@dataclass(frozen=True)
class Seen:
    """One image type as the features see it.

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
    """Return the features of a class, and whether each is deprecated; looked up once a process."""
    found: dict[str, bool] = cast(Any, kind).getFeatureNames()
    return found
