"""Slices of a series, and the even grid that they must form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import pydicom
from numpy.typing import NDArray

from client.imaging.dicom.header import numbers
from client.imaging.dicom.pixels import PixelDescription, describe
from client.imaging.errors import PatientError
from client.imaging.headers.volume import axis_faults

_UNIT_TOLERANCE = 1e-3
"""Largest error of the lengths of a slice's two directions."""

_TILT_TOLERANCE_MM = 0.1
"""Largest shift of a slice within its plane."""

_GAP_TOLERANCE_MM, _GAP_TOLERANCE = 0.01, 0.01
"""Largest error of a slice's place and of a gap, in mm or in slice distances if that is more."""

_ROUNDED_MM = 0.1
_ROUNDED_TOLERANCE_MM, _ROUNDED_TOLERANCE = 0.1, 0.2
"""Largest error of a place rounded to `_ROUNDED_MM`: in mm, or in slice distances if less.

Rounding moves a slice by 0.05 mm at most, and the line through all of them by less than that. A
missing slice moves one by 0.21 distances at least.
"""

_EXACT_MM = 1e-3


@dataclass(frozen=True)
class Slice:
    """One slice.

    Parameters
    ----------
    frame_of_reference : empty where it has none.
    spacing : mm between rows, and between columns.
    orientation : directions along a row and along a column, in patient coordinates.
    position : of the first voxel's centre, in mm.
    """

    path: Path
    instance: str
    frame_of_reference: str
    spacing: tuple[float, ...]
    orientation: tuple[float, ...]
    position: NDArray[np.float64]
    pixels: PixelDescription

    @property
    def normal(self) -> NDArray[np.float64]:
        """Direction across the slices (PS3.3, C.7.6.2.1.1)."""
        across = np.cross(self.orientation[:3], self.orientation[3:])
        normal: NDArray[np.float64] = across / np.linalg.norm(across)  # cosines may be rounded
        return normal

    @property
    def height(self) -> float:
        """Position along the normal, in mm."""
        return float(self.normal @ self.position)


@dataclass(frozen=True)
class Grid:
    """Geometry of an even stack of slices: mm along columns, rows and slices, first voxel, axes."""

    spacing: tuple[float, float, float]
    origin: tuple[float, ...]
    direction: tuple[float, ...]


def read_slice(path: Path, header: pydicom.FileDataset) -> Slice:
    """Read the elements needed to place and decode a slice.

    Raises
    ------
    PatientError : an element is missing, has a wrong number of values, or an impossible one.
    """
    where = path.name
    orientation = numbers(header, "ImageOrientationPatient", 6, where)
    position = numbers(header, "ImagePositionPatient", 3, where)
    spacing = numbers(header, "PixelSpacing", 2, where)
    remedy = "export the original series from the scanner or the archive"
    if min(spacing) <= 0:
        raise PatientError("PixelSpacing is not above zero", where=where, remedy=remedy)
    _check_axes(np.reshape(orientation, (2, 3)), where, remedy)
    return Slice(
        path=path,
        instance=str(header.SOPInstanceUID),
        frame_of_reference=str(header.get("FrameOfReferenceUID") or ""),
        spacing=spacing,
        orientation=orientation,
        position=np.array(position),
        pixels=describe(header, where),
    )


def _check_axes(axes: NDArray[np.float64], where: str, remedy: str) -> None:
    """Refuse rows and columns that are not unit vectors at right angles."""
    lengths = np.linalg.norm(axes, axis=1)
    if np.abs(lengths - 1).max() > _UNIT_TOLERANCE:
        measured = f"{lengths[0]:.4g} and {lengths[1]:.4g}"
        what = f"ImageOrientationPatient has vectors of length {measured}, not 1"
        raise PatientError(what, where=where, remedy=remedy)
    upright = np.column_stack([*axes, np.cross(*axes)])
    for fault in axis_faults(upright, "ImageOrientationPatient"):
        raise PatientError(fault.what, where=where, remedy=fault.remedy)


def place(slices: Sequence[Slice], where: str) -> Grid:
    """Find the grid of slices sorted by height.

    Positions may be rounded to a tenth of a millimetre: the grid is the even one that fits all of
    them best, by least squares.

    Raises
    ------
    PatientError : one slice only; slices of different size, spacing or frame of reference, not
        parallel, doubled, missing, unevenly spaced, shifted against each other.
    """
    _check_alike(slices, where)
    heights = np.array([s.height for s in slices])
    _check_doubled(slices, heights, where)
    distance, first = _even(heights)
    _check_even(slices, heights, distance, first, where)
    normal = slices[0].normal
    flat = np.array([s.position for s in slices]) - np.outer(heights, normal)
    middle = flat[0] if np.ptp(flat, axis=0).max() < _EXACT_MM else flat.mean(axis=0)
    shift = float(np.linalg.norm(flat - middle, axis=1).max())
    if shift > _TILT_TOLERANCE_MM:
        across = float(np.linalg.norm(flat - flat[0], axis=1).max())
        raise PatientError(
            f"the slices are shifted against each other by up to {across:.1f} mm (gantry tilt)",
            where=where,
            remedy="export the tilt-corrected series, or resample it to a rectangular grid",
        )
    exact = middle is flat[0] and first == heights[0]
    origin = slices[0].position if exact else middle + first * normal
    axes = np.reshape(slices[0].orientation, (2, 3))
    rows, columns = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    between_rows, between_columns = slices[0].spacing
    return Grid(
        spacing=(between_columns, between_rows, distance),
        origin=tuple(map(float, origin)),
        direction=tuple(map(float, np.stack([rows, columns, normal], axis=1).ravel())),
    )


def _check_alike(slices: Sequence[Slice], where: str) -> None:
    remedy = "export the one series that was segmented again"
    if len(slices) < 2:
        raise PatientError("the series has one slice only", where=where, remedy=remedy)
    shapes = {s.pixels.shape for s in slices}
    if len(shapes) > 1 or np.ptp([s.spacing for s in slices], axis=0).max() > 1e-4:
        raise PatientError("slices of different size or pixel spacing", where=where, remedy=remedy)
    if len({s.frame_of_reference for s in slices}) > 1:
        raise PatientError("slices of different frames of reference", where=where, remedy=remedy)
    if np.ptp([s.orientation for s in slices], axis=0).max() > 1e-4:
        raise PatientError("the slices are not parallel", where=where, remedy=remedy)


def _check_doubled(slices: Sequence[Slice], heights: NDArray[np.float64], where: str) -> None:
    seen: dict[str, Slice] = {}
    for one in slices:
        other = seen.setdefault(one.instance, one)
        if other is not one:
            _refuse_twins(one, other, where)
    gaps = np.diff(heights)
    if gaps.min() < max(_GAP_TOLERANCE_MM, _GAP_TOLERANCE * float(np.median(gaps))):
        at = slices[int(gaps.argmin()) + 1].path.name
        raise PatientError(
            f"two slices at the same place ({at})",
            where=where,
            remedy="export one reconstruction of one phase; delete repeated slices",
        )


def _refuse_twins(one: Slice, other: Slice, where: str) -> NoReturn:
    names = " and ".join(sorted((one.path.name, other.path.name)))
    if np.array_equal(one.position, other.position):
        what = f"two files of the same slice ({names})"
        remedy = "delete the copy, after a look at which of them is whole"
    else:
        what = f"two slices with the same SOP Instance UID ({names})"
        remedy = "export or de-identify the series again: every slice needs a UID of its own"
    raise PatientError(what, where=where, remedy=remedy)


def _even(heights: NDArray[np.float64]) -> tuple[float, float]:
    """Find the distance of slices and the first height: from the ends, or else from all."""
    steps = np.arange(len(heights))
    distance = float(heights[-1] - heights[0]) / (len(heights) - 1)
    if np.abs(heights - heights[0] - distance * steps).max() < _EXACT_MM:
        return distance, float(heights[0])
    centred = steps - steps.mean()
    distance = float(centred @ heights / (centred @ centred))
    return distance, float(heights.mean() - distance * steps.mean())


def _check_even(
    slices: Sequence[Slice],
    heights: NDArray[np.float64],
    distance: float,
    first: float,
    where: str,
) -> None:
    gaps = np.diff(heights)
    off = float(np.abs(heights - first - distance * np.arange(len(heights))).max())
    strict = max(_GAP_TOLERANCE_MM, _GAP_TOLERANCE * distance)
    if max(off, float(np.abs(gaps - distance).max())) <= strict:
        return
    rounded = _rounded(np.array([s.position for s in slices]))
    if rounded and off <= min(_ROUNDED_TOLERANCE_MM, _ROUNDED_TOLERANCE * distance) + 1e-9:
        return
    usual = float(np.median(gaps))
    worst = int(np.abs(gaps - usual).argmax())
    raise PatientError(
        f"missing or unevenly spaced slices: {gaps[worst]:.2f} mm before "
        f"{slices[worst + 1].path.name}, {usual:.2f} mm elsewhere",
        where=where,
        remedy="export the whole series again, or resample it to even slices",
    )


def _rounded(positions: NDArray[np.float64]) -> bool:
    """Return whether all coordinates that differ between slices are multiples of 0.1 mm."""
    moving = positions[:, np.ptp(positions, axis=0) > 0] / _ROUNDED_MM
    return bool(np.abs(moving - np.rint(moving)).max(initial=0) < 1e-6)
