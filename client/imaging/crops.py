"""Patches of the ROI for the networks (paper, "Development of the deep learning models")."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray

from client.imaging.geometry import roi_box
from client.imaging.preprocess import window_range
from common.study.model import ImagingSettings

Patch = NDArray[np.float32]


def crop3d(image: sitk.Image, mask: sitk.Image, settings: ImagingSettings) -> Patch:
    """Crop the bounding cube of the ROI, float32 (S, S, S) in [0, 1], axes z, y, x.

    Its side is the ROI's longest extent, its centre that of the ROI's bounding box (rounded down
    to whole voxels). Voxels outside the image get the window's low end, 0. Linear resizing.

    Parameters
    ----------
    image, mask : from `preprocess`, so that voxels are cubes.
    """
    low, high = (bound[::-1] for bound in roi_box(mask))
    side = int((high - low).max()) + 1
    first = low - (side - (high - low + 1) + 1) // 2
    voxels = _unit(sitk.GetArrayViewFromImage(image), settings)
    cube = np.zeros((side, side, side), dtype=np.float32)
    shape = np.array(voxels.shape)
    begin, end = np.maximum(first, 0), np.minimum(first + side, shape)
    target = tuple(slice(b - f, e - f) for b, e, f in zip(begin, end, first, strict=True))
    cube[target] = voxels[tuple(slice(b, e) for b, e in zip(begin, end, strict=True))]
    return resize_linear(cube, (settings.crop3d_size,) * 3)


def crop2d(image: sitk.Image, mask: sitk.Image, settings: ImagingSettings) -> Patch:
    """Crop axial patches of the ROI, float32 (slices, S, S) in [0, 1], axes z, y, x.

    The slice with the largest cross-section (the lowest on a tie) and the nearest slices with
    tumour above and below it, up to `crop2d_slices_each_side` each: a slice without tumour would
    teach the network the patient's label from healthy tissue. The bounding rectangle of the largest
    section cuts them all. Linear resizing to a square, in-plane only.

    Parameters
    ----------
    image, mask : from `preprocess`, so that voxels are cubes and slices axial.
    """
    inside = sitk.GetArrayViewFromImage(mask) > 0
    areas = inside.sum(axis=(1, 2))
    filled = np.flatnonzero(areas)
    largest, each = int(areas.argmax()), settings.crop2d_slices_each_side
    middle = int(np.searchsorted(filled, largest))
    taken = filled[max(middle - each, 0) : middle + each + 1]
    rows = np.flatnonzero(inside[largest].any(axis=1))
    columns = np.flatnonzero(inside[largest].any(axis=0))
    section = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    voxels = sitk.GetArrayViewFromImage(image)[(slice(None), *section)][taken]
    size = settings.crop2d_size
    return resize_linear(_unit(voxels, settings), (voxels.shape[0], size, size))


def resize_linear(array: Patch, shape: tuple[int, ...]) -> Patch:
    """Resize multilinearly without smoothing; voxel edges, not centres, stay in place.

    The same as `torch.nn.functional.interpolate(..., align_corners=False)`.
    """
    result = array.astype(np.float64)
    for axis, size in enumerate(shape):
        if result.shape[axis] != size:
            weights = _weights(result.shape[axis], size)
            result = np.moveaxis(np.tensordot(weights, result, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(result, dtype=np.float32)


def _weights(old: int, new: int) -> NDArray[np.float64]:
    """Return the matrix (new, old) that interpolates along one axis."""
    place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    left = np.minimum(np.floor(place).astype(np.int64), max(old - 2, 0))
    weights = np.zeros((new, old))
    weights[np.arange(new), left] = 1 - (place - left)
    weights[np.arange(new), np.minimum(left + 1, old - 1)] += place - left
    return weights


def _unit(values: NDArray[np.float32], settings: ImagingSettings) -> Patch:
    low, high = window_range(settings)
    unit: Patch = np.clip((values - low) / (high - low), 0, 1).astype(np.float32)
    return unit
