"""Boxes around an ROI in voxel indices, and the common orientation of all volumes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray

Index = NDArray[np.int64]

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
_STORED = "fedlnm|stored axes"
_SINGLE = 2e-7
"""Relative rounding of a number computed from float32."""
_EQUAL_DIGITS = 6


@dataclass(frozen=True)
class StoredAxes:
    """Storage order of a volume in its file: the way back from LPS.

    Parameters
    ----------
    axes : for x, y, z of LPS (towards left, back and head) the number of the file's axis.
    turned : whether the file's axis runs the other way.
    """

    axes: tuple[int, int, int]
    turned: tuple[bool, bool, bool]

    @staticmethod
    def of(image: sitk.Image) -> StoredAxes:
        """Return the axes nearest to x, y and z.

        Of 48 orders and flips it is the one whose axes agree best with the patient's. Ties, of a
        volume turned by 45 degrees, are decided by the axes themselves, so that all 48 forms of
        one volume come out the same.
        """
        direction = np.reshape(image.GetDirection(), (3, 3))
        best: tuple[float, ...] = ()
        found = StoredAxes((0, 1, 2), (False, False, False))
        for axes in itertools.permutations(range(3)):
            for signs in itertools.product((1, -1), repeat=3):
                turned = direction[:, axes] * signs
                key = (turned.trace(), *turned.ravel())
                rounded = tuple(round(float(v), _EQUAL_DIGITS) for v in key)
                if not best or rounded > best:
                    best = rounded
                    x, y, z = (sign < 0 for sign in signs)
                    found = StoredAxes((axes[0], axes[1], axes[2]), (x, y, z))
        return found

    def apply(self, image: sitk.Image) -> sitk.Image:
        """Reorder the axes of a volume to x, y and z; no value changes."""
        columns = np.reshape(image.GetDirection(), (3, 3))
        spacing, size = np.array(image.GetSpacing()), np.array(image.GetSize())
        ends = np.zeros(3)
        ways = [slice(None)] * 3
        for axis, turned in zip(self.axes, self.turned, strict=True):
            if turned:
                ends[axis] = size[axis] - 1
                ways[axis] = slice(None, None, -1)
        voxels = sitk.GetArrayViewFromImage(image).T[tuple(ways)].transpose(self.axes).T
        made = sitk.GetImageFromArray(np.ascontiguousarray(voxels))
        signs = np.where(self.turned, -1.0, 1.0)
        made.SetDirection((columns[:, self.axes] * signs + 0.0).ravel().tolist())
        made.SetSpacing(spacing[list(self.axes)].tolist())
        made.SetOrigin((np.array(image.GetOrigin()) + columns @ (spacing * ends)).tolist())
        return made

    def undo(self) -> StoredAxes:
        """Return the inverse reordering."""
        x, y, z = (self.axes.index(axis) for axis in range(3))
        return StoredAxes((x, y, z), (self.turned[x], self.turned[y], self.turned[z]))


def oriented(image: sitk.Image) -> sitk.Image:
    """Bring a volume to LPS by exchanging and reversing axes, and its spacing to plain numbers.

    Its storage order is noted in its meta-data, see `stored_grid`; most filters drop it again.
    """
    stored = StoredAxes.of(image)
    made = stored.apply(image)
    made.SetSpacing([plain_mm(value) for value in made.GetSpacing()])
    text = ",".join(str(axis) for axis in stored.axes)
    made.SetMetaData(_STORED, text + "," + ",".join(str(int(turned)) for turned in stored.turned))
    return made


def stored_axes(image: sitk.Image) -> StoredAxes:
    """Return the order noted by `oriented`; LPS without a note."""
    if not image.HasMetaDataKey(_STORED):
        return StoredAxes((0, 1, 2), (False, False, False))
    a, b, c, x, y, z = (int(part) for part in image.GetMetaData(_STORED).split(","))
    return StoredAxes((a, b, c), (bool(x), bool(y), bool(z)))


def stored_grid(image: sitk.Image) -> sitk.Image:
    """Return the grid of an oriented volume as its file stores it: zeros, with the meta-data."""
    empty = sitk.Image(image.GetSize(), sitk.sitkUInt8)
    empty.CopyInformation(image)
    grid = stored_axes(image).undo().apply(empty)
    for key in image.GetMetaDataKeys():
        if key != _STORED:
            grid.SetMetaData(key, image.GetMetaData(key))
    return grid


def plain_mm(value: float) -> float:
    """Return the shortest decimal number that is the same length in single precision.

    DICOM states 3.27, NIfTI stores 3.26999998, and some converters calculate with that: the number
    of voxels of a resampled grid would differ where a size is a whole number of mm.
    """
    single = float(np.float32(value))
    for digits in range(1, 9):
        plain = float(f"{single:.{digits}g}")
        if abs(plain - single) <= _SINGLE * single:
            return plain
    return single


def at_origin(image: sitk.Image) -> sitk.Image:
    """Return a copy whose grid starts at 0 and runs along x, y and z.

    Filters place voxels by their coordinates, so that another origin or a turned grid rounds them
    to other neighbours. Image and mask share their grid by index: nothing else matters.
    """
    made = sitk.Image(image)
    made.SetOrigin((0.0, 0.0, 0.0))
    made.SetDirection(IDENTITY)
    return made


def roi_box(mask: sitk.Image) -> tuple[Index, Index]:
    """Return first and last voxel of the ROI along x, y, z.

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
    """Cut out voxels `first` to `last` (x, y, z; inclusive), as far as the image reaches."""
    low = np.maximum(first, 0)
    high = np.minimum(last, np.array(image.GetSize()) - 1)
    return sitk.RegionOfInterest(image, (high - low + 1).tolist(), low.tolist())


def voxels_to_patient(image: sitk.Image) -> NDArray[np.float64]:
    """Return the (4, 4) matrix from voxel indices x, y, z, 1 to patient coordinates in mm (LPS)."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return matrix
