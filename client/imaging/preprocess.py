"""Window and resample a CT around its ROI (paper, "CT examination and image preprocessing")."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray

from client.imaging.errors import PatientError
from client.imaging.geometry import IDENTITY, Index, at_origin, cut, roi_box
from common.study.model import ImagingSettings

SPLINE_SUPPORT = 32
"""Source voxels around a cut beyond which a cubic spline no longer sees the rest of the image.

The prefilter's response falls by 0.268 per voxel (Unser 1999, box 2): 0.268**32 is 5e-19.
"""

_MARGIN = 5
"""Voxels of the new grid kept around the ROI's bounding cube."""

_ALMOST = 1e-6
_UP = 0.5 + _ALMOST


@dataclass(frozen=True)
class Grid:
    """Resampling grid; the fields run along x, y, z.

    `offset` leads from the source's first voxel centre to the grid's, in mm along the axes.
    """

    size: Index
    spacing: NDArray[np.float64]
    offset: NDArray[np.float64]

    @staticmethod
    def over(image: sitk.Image, spacing_mm: float) -> Grid:
        """Return the grid of cubic voxels over a whole image, centres aligned (IBSI 2.4).

        It has as many voxels as fit completely into the image, so that no sample lies outside.
        """
        size, spacing = np.array(image.GetSize()), np.array(image.GetSpacing())
        new = np.maximum(np.floor(size * spacing / spacing_mm + _ALMOST), 1).astype(np.int64)
        offset = ((size - 1) * spacing - (new - 1) * spacing_mm) / 2
        return Grid(new, np.full(3, spacing_mm), offset)

    def part(self, first: Index, last: Index) -> Grid:
        """Return the voxels from `first` to `last`, both included."""
        return Grid(last - first + 1, self.spacing, self.offset + first * self.spacing)

    def spline(self, image: sitk.Image) -> sitk.Image:
        """Sample the cubic B-spline through an image, in the image's pixel type.

        The origin is set to 0, so that the position of an image changes no value.
        """
        made = sitk.Resample(
            at_origin(image),
            self.size.tolist(),
            sitk.Transform(),
            sitk.sitkBSpline,
            self.offset.tolist(),
            self.spacing.tolist(),
            IDENTITY,
            0.0,
            image.GetPixelID(),
        )
        made.SetOrigin(self._origin(image))
        made.SetDirection(image.GetDirection())
        return made

    def nearest(self, image: sitk.Image) -> sitk.Image:
        """Sample the nearest voxels of an image; of two equally near, the further one.

        Computed from indices, as rounding would otherwise decide ties differently on every machine.
        """
        spacing, size = np.array(image.GetSpacing()), np.array(image.GetSize())
        steps = [
            np.floor(
                (self.offset[d] + np.arange(self.size[d]) * self.spacing[d]) / spacing[d] + _UP
            )
            for d in range(3)
        ]
        x, y, z = (np.clip(s, 0, n - 1).astype(np.int64) for s, n in zip(steps, size, strict=True))
        made = sitk.GetImageFromArray(sitk.GetArrayViewFromImage(image)[np.ix_(z, y, x)])
        made.SetSpacing(self.spacing.tolist())
        made.SetOrigin(self._origin(image))
        made.SetDirection(image.GetDirection())
        return made

    def _origin(self, image: sitk.Image) -> tuple[float, ...]:
        index = (self.offset / np.array(image.GetSpacing())).tolist()
        point: tuple[float, ...] = image.TransformContinuousIndexToPhysicalPoint(index)
        return point


def window_range(settings: ImagingSettings) -> tuple[float, float]:
    """Return lowest and highest HU of the window: level -/+ half its width."""
    return settings.level - settings.window / 2, settings.level + settings.window / 2


def windowed(image: sitk.Image, settings: ImagingSettings) -> sitk.Image:
    """Return the image as float32, clipped to the window."""
    return sitk.Clamp(image, sitk.sitkFloat32, *window_range(settings))


def preprocess(
    image: sitk.Image, mask: sitk.Image, settings: ImagingSettings
) -> tuple[sitk.Image, sitk.Image]:
    """Return windowed image (float32, HU) and mask (uint8) with cubic voxels.

    Both cover the ROI's bounding cube and a few voxels around it, as far as the image reaches; the
    voxels are those that the whole image would give. The image is resampled by a cubic B-spline,
    the mask by nearest neighbour. With "window_first" (the paper's order) the image is clipped to
    the window before and after, as the spline overshoots at clipped edges; "resample_first" clips
    after resampling only. An image that already has the wanted spacing is not interpolated.

    Parameters
    ----------
    image, mask : from `read_image` and `read_mask`, so that their axes are those of LPS.

    Raises
    ------
    PatientError : the ROI vanishes on the new grid, or lies completely outside the window.
    """
    grid = Grid.over(image, settings.spacing_mm)
    first, last = _neighbourhood(mask, grid)
    wanted = grid.part(first, last)
    near_image, near_mask, shift = _source(image, mask, wanted)
    wanted = Grid(wanted.size, wanted.spacing, wanted.offset - shift)
    if settings.order == "window_first":
        near_image = windowed(near_image, settings)
    exact = np.allclose(image.GetSpacing(), settings.spacing_mm, rtol=0, atol=_ALMOST)
    made = wanted.nearest(near_image) if exact else wanted.spline(near_image)
    made = windowed(made, settings)
    roi = wanted.nearest(near_mask)
    _check(made, roi, window_range(settings), settings.spacing_mm)
    return made, roi


def source_box(mask: sitk.Image, settings: ImagingSettings) -> tuple[Index, Index]:
    """Return first and last voxel of the image that `preprocess` reads; they may lie beyond it."""
    grid = Grid.over(mask, settings.spacing_mm)
    wanted = grid.part(*_neighbourhood(mask, grid))
    return _behind(mask, wanted)


def _behind(image: sitk.Image, wanted: Grid) -> tuple[Index, Index]:
    spacing = np.array(image.GetSpacing())
    end = wanted.offset + (wanted.size - 1) * wanted.spacing
    first = np.floor(wanted.offset / spacing).astype(np.int64) - SPLINE_SUPPORT
    last = np.ceil(end / spacing).astype(np.int64) + SPLINE_SUPPORT
    return first, last


def _neighbourhood(mask: sitk.Image, grid: Grid) -> tuple[Index, Index]:
    """Return first and last voxel of the grid around the ROI's bounding cube."""
    spacing = np.array(mask.GetSpacing())
    low, high = roi_box(mask)
    start, stop = (low - 0.5) * spacing, (high + 0.5) * spacing
    reach = (stop - start).max() / 2 + _MARGIN * grid.spacing
    middle = (start + stop) / 2 - grid.offset
    first = np.floor((middle - reach) / grid.spacing).astype(np.int64)
    last = np.ceil((middle + reach) / grid.spacing).astype(np.int64)
    return np.clip(first, 0, grid.size - 1), np.clip(last, 0, grid.size - 1)


def _source(
    image: sitk.Image, mask: sitk.Image, wanted: Grid
) -> tuple[sitk.Image, sitk.Image, NDArray[np.float64]]:
    """Return the part of image and mask behind the wanted voxels, and its start in mm."""
    first, last = _behind(image, wanted)
    shift = np.maximum(first, 0) * np.array(image.GetSpacing())
    return cut(image, first, last), cut(mask, first, last), shift


def _check(
    image: sitk.Image, mask: sitk.Image, window: tuple[float, float], spacing_mm: float
) -> None:
    inside = sitk.GetArrayViewFromImage(image)[sitk.GetArrayViewFromImage(mask) > 0]
    if inside.size == 0:
        raise PatientError(
            f"nothing is left of the ROI on a grid of {spacing_mm:g} mm",
            remedy="the ROI is thinner than a voxel: check the segmentation",
        )
    low, high = window
    if not ((inside > low) & (inside < high)).any():
        raise PatientError(
            f"the whole ROI lies outside the window of {low:g} to {high:g} HU",
            remedy="check that the image is in HU and that the mask lies in soft tissue",
        )
