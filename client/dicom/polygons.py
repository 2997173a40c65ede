"""Polygons to pixels, by the centres of the pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]
"""Corners (n, 2) as column and row; whole numbers are the centres of pixels. It closes itself."""
Plane = NDArray[np.bool_]

ON_THE_PATH = 1e-3
"""Pixels within which a centre counts as met: coordinates are rounded in files."""


def interior(polygon: Polygon, shape: tuple[int, int]) -> Plane:
    """Pixels (rows, columns) whose centre is inside by the even-odd rule.

    Of centres exactly on the path each belongs to one side, so that polygons that share an edge
    never share a pixel. A channel to a hole ("keyhole") that is arbitrarily narrow leaves no trace.
    """
    rows, columns = shape
    filled = np.zeros(shape, dtype=np.bool_)
    x, y, dx, dy = _edges(polygon)
    first, last = max(int(np.ceil(y.min())), 0), min(int(np.floor(y.max())), rows - 1)
    for row in range(first, last + 1):
        crossed = (y <= row) != (y + dy <= row)
        at = np.sort(x[crossed] + (row - y[crossed]) * dx[crossed] / dy[crossed])
        filled[row] = np.searchsorted(at, np.arange(columns), side="right") % 2 == 1
    return filled


def traced(polygon: Polygon) -> bool:
    """Whether every corner is the centre of a pixel.

    Nobody draws so: such a path was led along the outermost pixels of a mask (OpenCV, rt-utils),
    which are meant to be part of it. Without its path the ROI would lose that rim.
    """
    return bool(np.abs(polygon - np.rint(polygon)).max() <= ON_THE_PATH)


def outline(polygon: Polygon, shape: tuple[int, int]) -> Plane:
    """Pixels (rows, columns) whose centre lies on the path."""
    # what lies along a row is found by columns, and the other way round
    return _met_in_rows(polygon, shape) | _met_in_rows(polygon[:, ::-1], shape[::-1]).T


def combine(polygons: Sequence[Polygon], shape: tuple[int, int]) -> Plane:
    """The ROI that several polygons of a plane make together (DICOM PS3.3, C.8.8.6.3).

    Their exclusive disjunction: what lies in one polygon is in, a polygon within it is a hole,
    one within the hole is in again. The path of a traced polygon is part of the ROI.
    """
    inside = np.zeros(shape, dtype=np.bool_)
    for polygon in polygons:
        inside ^= interior(polygon, shape)
    for polygon in filter(traced, polygons):
        inside |= outline(polygon, shape)
    return inside


def overlap_in_part(polygons: Sequence[Polygon], shape: tuple[int, int]) -> bool:
    """Whether two polygons share pixels and neither lies within the other, or they are the same.

    Union or exclusive disjunction? Nobody can tell what such contours are meant to say.
    """
    planes = [interior(polygon, shape) for polygon in polygons]
    for i, one in enumerate(planes):
        for other in planes[:i]:
            shared = int(np.count_nonzero(one & other))
            sizes = sorted((int(np.count_nonzero(one)), int(np.count_nonzero(other))))
            if shared and (shared < sizes[0] or sizes[0] == sizes[1]):
                return True
    return False


def _edges(polygon: Polygon) -> tuple[NDArray[np.float64], ...]:
    """Where each edge begins, x and y, and how far it goes."""
    way = np.roll(polygon, -1, axis=0) - polygon
    return polygon[:, 0], polygon[:, 1], way[:, 0], way[:, 1]


def _met_in_rows(polygon: Polygon, shape: tuple[int, int]) -> Plane:
    """Pixel centres at which an edge meets the line of their row."""
    rows, columns = shape
    met = np.zeros(shape, dtype=np.bool_)
    x, y, dx, dy = _edges(polygon)
    low, high = np.minimum(y, y + dy) - ON_THE_PATH, np.maximum(y, y + dy) + ON_THE_PATH
    first, last = max(int(np.ceil(low.min())), 0), min(int(np.floor(high.max())), rows - 1)
    # of an edge along its row only the first corner is found here
    rise = np.where(np.abs(dy) > ON_THE_PATH, dy, np.inf)
    for row in range(first, last + 1):
        touched = (low <= row) & (row <= high)
        along = np.clip((row - y[touched]) / rise[touched], 0, 1)
        at = x[touched] + along * dx[touched]
        near = np.rint(at).astype(np.int64)
        good = (np.abs(at - near) <= ON_THE_PATH) & (near >= 0) & (near < columns)
        met[row, near[good]] = True
    return met
