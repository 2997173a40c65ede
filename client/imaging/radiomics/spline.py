"""Cubic B-spline resampling to the last bit of ITK's, many voxels at a time.

ITK prefilters an image along x, y and z (Unser 1999, box 2) and adds 4 x 4 x 4 weighted
coefficients for each new voxel. Here the lines of a plane are filtered side by side, only what the
new grid needs is kept after each axis, and the voxels of a row are added up together, in the same
order of additions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray
from radiomics import imageoperations

from client.imaging.radiomics.jit import compiled

Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

FEWEST = 4
"""Voxels along an axis; fewer are left to ITK."""

_POLE = float(np.sqrt(3.0) - 2.0)
_GAIN = (1.0 - _POLE) * (1.0 - 1.0 / _POLE)
_HORIZON = 18
"""Voxels after which ITK neglects a power of the pole (1e-10)."""


@dataclass(frozen=True)
class Axis:
    """Place of the new voxels of one axis among the old ones.

    Parameters
    ----------
    first, last : range of the old voxels that are needed, `last` excluded.
    taps : (4, n) old voxels of each new one, counted from `first` and mirrored at the borders.
    weights : (4, n) of the taps.
    inside : (n,) True where the new voxel lies in the old image.
    """

    first: int
    last: int
    taps: Ints
    weights: Doubles
    inside: NDArray[np.bool_]


def on_grid(
    image: sitk.Image, mask: sitk.Image, first: Ints, last: Ints, settings: Mapping[str, Any]
) -> tuple[sitk.Image, sitk.Image]:
    """Resample as PyRadiomics' `resampleImage` does, on the same grid.

    Parameters
    ----------
    image : at least the part of it that decides the wanted voxels.
    mask : whole, as the grid depends on its size.
    first, last : voxels of the ROI's bounding box, along x, y and z.
    """
    spacing, wanted = np.array(mask.GetSpacing()), np.array(settings["resampledPixelSpacing"])
    new = np.where((wanted == 0) | (first == last), spacing, wanted)
    usual = settings.get("interpolator") in ("sitkBSpline", sitk.sitkBSpline)
    if not usual or np.allclose(image.GetSpacing(), new):
        made: tuple[sitk.Image, sitk.Image] = imageoperations.resampleImage(image, mask, **settings)
        return made
    finer, padding = spacing / new, settings.get("padDistance", 5)
    low = np.maximum(np.floor((first - 0.5) * finer - padding), 0)
    high = np.ceil((last + 0.5) * finer + padding)
    high = np.minimum(high, np.ceil(np.array(mask.GetSize()) * finer) - 1)
    start = 0.5 * (new - spacing) / spacing + low / finer
    place = sitk.ResampleImageFilter()
    place.SetSize((high - low + 1).astype(int).tolist())
    place.SetOutputSpacing(new.tolist())
    place.SetOutputDirection(mask.GetDirection())
    place.SetOutputOrigin(mask.TransformContinuousIndexToPhysicalPoint(start.tolist()))
    place.SetInterpolator(sitk.sitkNearestNeighbor)
    roi = place.Execute(mask)
    values = resampled(image, roi)
    if values is None:
        place.SetInterpolator(sitk.sitkBSpline)
        values = place.Execute(image)
    return values, roi


def resampled(image: sitk.Image, grid: sitk.Image) -> sitk.Image | None:
    """Return the image's spline on the voxels of a grid; None for an image that ITK must handle.

    Both lie along the axes of space, and the image is of single precision.
    """
    if image.GetPixelID() != sitk.sitkFloat32 or min(image.GetSize()) < FEWEST:
        return None
    x, y, z = (axis_of(image, grid, axis) for axis in range(3))
    volume = np.empty((image.GetSize()[2], image.GetSize()[1], x.last - x.first))
    _prefilter(sitk.GetArrayViewFromImage(image), volume, x.first, y.first, y.last)
    out = np.empty(tuple(reversed(grid.GetSize())), dtype=np.float32)
    _evaluate(
        volume, out, x.taps, y.taps, z.taps + z.first, x.weights, y.weights, z.weights, y.first
    )
    for axis, where in enumerate((z, y, x)):
        if not where.inside.all():
            np.moveaxis(out, axis, 0)[~where.inside] = 0
    made = sitk.GetImageFromArray(out)
    made.CopyInformation(grid)
    return made


def axis_of(image: sitk.Image, grid: sitk.Image, axis: int) -> Axis:
    """Place the voxels as ITK does: a row's ends by their coordinates, its voxels between them."""
    size, new = image.GetSize()[axis], grid.GetSize()[axis]
    if axis == 0:
        start, end = _index(image, grid, 0, 0), _index(image, grid, 0, new)
        places = start + np.arange(new) / float(new) * (end - start)
    else:
        places = np.array([_index(image, grid, axis, i) for i in range(new)])
    # ITK rounds to single precision before it looks for the voxel before
    before = np.floor(places.astype(np.float32)).astype(np.int64)
    w = places - before
    weights = np.empty((4, new))
    weights[3] = (1.0 / 6.0) * w * w * w
    weights[0] = (1.0 / 6.0) + 0.5 * w * (w - 1.0) - weights[3]
    weights[2] = w + weights[0] - 2.0 * weights[3]
    weights[1] = 1.0 - weights[0] - weights[2] - weights[3]
    taps = before + np.arange(-1, 3)[:, None]
    taps = np.where(taps < 0, -taps, taps)
    taps = np.where(taps >= size - 1, 2 * (size - 1) - taps, taps)
    taps = np.clip(taps, 0, size - 1)
    inside = (places >= -0.5) & (places < size - 0.5)
    first = int(taps.min())
    return Axis(first, int(taps.max()) + 1, taps - first, weights, inside)


def _index(image: sitk.Image, grid: sitk.Image, axis: int, number: int) -> float:
    at = [0, 0, 0]
    at[axis] = number
    point = grid.TransformIndexToPhysicalPoint(at)
    found: float = image.TransformPhysicalPointToContinuousIndex(point)[axis]
    return found


@compiled
def _prefilter(image: Singles, volume: Doubles, x_first: int, y_first: int, y_last: int) -> None:
    """Fill `volume` (z, y, needed x) with coefficients, in the needed rows."""
    depth, height, needed = volume.shape
    width = image.shape[2]
    along_x = np.empty((width, height))
    along_y = np.empty((height, needed))
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                along_x[x, y] = image[z, y, x]
        _filter_lines(along_x)
        for y in range(height):
            for x in range(needed):
                along_y[y, x] = along_x[x_first + x, y]
        _filter_lines(along_y)
        for y in range(y_first, y_last):
            for x in range(needed):
                volume[z, y, x] = along_y[y, x]
    along_z = np.empty((depth, needed))
    for y in range(y_first, y_last):
        for z in range(depth):
            for x in range(needed):
                along_z[z, x] = volume[z, y, x]
        _filter_lines(along_z)
        for z in range(depth):
            for x in range(needed):
                volume[z, y, x] = along_z[z, x]


@compiled
def _filter_lines(lines: Doubles) -> None:
    """Turn values (n, lines) into coefficients along the first axis, in place."""
    n, many = lines.shape
    for i in range(n):
        for k in range(many):
            lines[i, k] *= _GAIN
    power = _POLE
    if n > _HORIZON:
        for i in range(1, _HORIZON):
            for k in range(many):
                lines[0, k] += power * lines[i, k]
            power *= _POLE
    else:
        inverse = 1.0 / _POLE
        mirrored = _POLE ** (n - 1.0)
        for k in range(many):
            lines[0, k] += mirrored * lines[n - 1, k]
        mirrored *= mirrored * inverse
        for i in range(1, n - 1):
            for k in range(many):
                lines[0, k] += (power + mirrored) * lines[i, k]
            power *= _POLE
            mirrored *= inverse
        for k in range(many):
            lines[0, k] /= 1.0 - power * power
    for i in range(1, n):
        for k in range(many):
            lines[i, k] += _POLE * lines[i - 1, k]
    for k in range(many):
        last = _POLE * lines[n - 2, k] + lines[n - 1, k]
        lines[n - 1, k] = (_POLE / (_POLE * _POLE - 1.0)) * last
    for i in range(n - 2, -1, -1):
        for k in range(many):
            lines[i, k] = _POLE * (lines[i + 1, k] - lines[i, k])


@compiled
def _evaluate(
    coefficients: NDArray[Any],
    out: Singles,
    taps_x: Ints,
    taps_y: Ints,
    taps_z: Ints,
    weights_x: Doubles,
    weights_y: Doubles,
    weights_z: Doubles,
    y_first: int,
) -> None:
    """Add up w_x * w_y * w_z * c over the 4 x 4 x 4 taps of each new voxel, x first.

    Each row of coefficients is laid out along the new voxels once, for all rows that need it.
    """
    rows, width = taps_y.max() + 1, out.shape[2]
    laid = np.empty((4, rows, 4, width))
    holds = np.full(4, -1)
    total = np.empty(width)
    for z in range(out.shape[0]):
        for c in range(4):
            source = taps_z[c, z]
            if holds[source % 4] != source:
                holds[source % 4] = source
                for y in range(rows):
                    for a in range(4):
                        for x in range(width):
                            laid[source % 4, y, a, x] = coefficients[
                                source, y_first + y, taps_x[a, x]
                            ]
        for y in range(out.shape[1]):
            total[:] = 0.0
            for c in range(4):
                for b in range(4):
                    line = laid[taps_z[c, z] % 4, taps_y[b, y]]
                    _add_row(total, line, weights_x, weights_y[b, y], weights_z[c, z])
            for x in range(width):
                out[z, y, x] = total[x]


@compiled
def _add_row(total: Doubles, line: Doubles, weights: Doubles, wy: float, wz: float) -> None:
    """Add four taps to each voxel of a row."""
    for x in range(len(total)):
        s = total[x]
        s += weights[0, x] * wy * wz * line[0, x]
        s += weights[1, x] * wy * wz * line[1, x]
        s += weights[2, x] * wy * wz * line[2, x]
        s += weights[3, x] * wy * wz * line[3, x]
        total[x] = s
