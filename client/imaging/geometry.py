"""Boxes around an ROI in voxel indices."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray

Index = NDArray[np.int64]


def roi_box(mask: sitk.Image) -> tuple[Index, Index]:
    """First and last voxel of the ROI along x, y, z.

    Raises
    ------
    ValueError : the mask is empty.
    """
    inside = sitk.GetArrayViewFromImage(mask) > 0
    if not inside.any():
        raise ValueError("the mask is empty")
    ranges = [np.flatnonzero(inside.any(axis=other)) for other in ((0, 1), (0, 2), (1, 2))]
    return np.array([r[0] for r in ranges]), np.array([r[-1] for r in ranges])


def cut(image: sitk.Image, first: Index, last: Index) -> sitk.Image:
    """The voxels from `first` to `last` (x, y, z; both included), as far as the image reaches."""
    low = np.maximum(first, 0)
    high = np.minimum(last, np.array(image.GetSize()) - 1)
    return sitk.RegionOfInterest(image, (high - low + 1).tolist(), low.tolist())


def voxels_to_patient(image: sitk.Image) -> NDArray[np.float64]:
    """Matrix (4, 4) from voxel indices x, y, z, 1 to patient coordinates in mm (LPS)."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return matrix
