"""Rasterise polygons by the centres of the pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]
"""Corners (n, 2) as column and row; whole numbers are the centres of pixels. It closes itself."""
Plane = NDArray[np.bool_]
Reach = tuple[float, float]
"""Pixels along columns and rows within which a centre counts as met."""

FLOAT_ERROR = 1e-3
"""Displacement of a corner in pixels by arithmetic and storage in 32 bits."""

_FINE = 4
PROBE = 1 / _FINE**2
"""Pixels that a point from `crossed_over` represents."""


def interior(polygon: Polygon, shape: tuple[int, int]) -> Plane:
    """Return the pixels (rows, columns) whose centre is inside by the even-odd rule.

    Of centres exactly on the path each belongs to one side, so that polygons that share an edge
    never share a pixel. A channel to a hole ("keyhole") that is arbitrarily narrow leaves no trace.
    """
    odd: Plane = windings(polygon, shape) % 2 == 1
    return odd


def windings(polygon: Polygon, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Count how often the path runs around the centre of each pixel (rows, columns).

    Clockwise turns on the screen count as positive, others as negative.
    """
    rows, columns = shape
    turns = np.zeros(shape, dtype=np.int64)
    x, y, dx, dy = _edges(polygon)
    first, last = max(int(np.ceil(y.min())), 0), min(int(np.floor(y.max())), rows - 1)
    for row in range(first, last + 1):
        crossed = np.flatnonzero((y <= row) != (y + dy <= row))
        at = x[crossed] + (row - y[crossed]) * dx[crossed] / dy[crossed]
        order = np.argsort(at)
        sums = np.concatenate([[0], np.cumsum(-np.sign(dy[crossed][order]).astype(np.int64))])
        turns[row] = sums[np.searchsorted(at[order], np.arange(columns), side="right")]
    return turns


def crossed_over(polygon: Polygon, reach: Reach) -> tuple[float, NDArray[np.float64]]:
    """Find where a path crosses itself: areas wound twice, or against the rest.

    A path that touches itself or runs back along itself, as channels to holes and bridges between
    pieces do, winds around everything once and one way only. Areas within reach of the path do not
    count: rounding may move it across.

    Returns
    -------
    Share of the whole that is wound so, and (n, 2) points there, each for `PROBE` of a pixel. They
    are denser than pixels, which a zigzag may all leave on one side.
    """
    low = np.floor(polygon.min(axis=0))
    fine = (polygon - low) * _FINE - 0.5
    columns, rows = (int(n) for n in np.ceil(fine.max(axis=0)) + 1)
    turns = windings(fine, (rows, columns))
    positive, negative = int((turns > 0).sum()), int((turns < 0).sum())
    found = (turns < 0 if positive >= negative else turns > 0) | (np.abs(turns) > 1)
    if found.any():
        found &= ~near_path(fine, (rows, columns), (_FINE * reach[0], _FINE * reach[1]))
    places = (np.argwhere(found)[:, ::-1] + 0.5) / _FINE + low
    return len(places) / max(positive + negative, 1), places


def near_path(polygon: Polygon, shape: tuple[int, int], reach: Reach) -> Plane:
    """Return the pixels (rows, columns) whose centre lies within reach of the path.

    These are the pixels that may come to lie on the other side when every corner moves by up to
    `reach`: then no point of an edge moves any further.
    """
    rows, columns = shape
    near = np.zeros(shape, dtype=np.bool_)
    x, y, dx, dy = _edges(polygon)
    low, high = np.minimum(y, y + dy) - reach[1], np.maximum(y, y + dy) + reach[1]
    first, last = max(int(np.ceil(low.min())), 0), min(int(np.floor(high.max())), rows - 1)
    level = dy == 0
    rise = np.where(level, 1.0, dy)
    for row in range(first, last + 1):
        touched = np.flatnonzero((low <= row) & (row <= high))
        # the part of each edge that lies in the band of the row
        ends = [
            np.clip((row + side - y[touched]) / rise[touched], 0, 1)
            for side in (-reach[1], reach[1])
        ]
        begin = np.where(level[touched], 0.0, ends[0]) * dx[touched] + x[touched]
        end = np.where(level[touched], 1.0, ends[1]) * dx[touched] + x[touched]
        left = np.ceil(np.minimum(begin, end) - reach[0]).clip(0, columns).astype(np.int64)
        right = np.floor(np.maximum(begin, end) + reach[0]).clip(-1, columns - 1).astype(np.int64)
        met = right >= left
        steps = np.zeros(columns + 1, dtype=np.int64)
        np.add.at(steps, left[met], 1)
        np.add.at(steps, right[met] + 1, -1)
        near[row] = np.cumsum(steps)[:-1] > 0
    return near


def band_area(polygon: Polygon, reach: Reach) -> float:
    """Return the area within reach of a path: pixels expected there without regard to the grid."""
    _, _, dx, dy = _edges(polygon)
    return float(2 * (np.abs(dy) * reach[0] + np.abs(dx) * reach[1]).sum())


def length_in_pixels(polygon: Polygon) -> float:
    """Return a path's length in pixels, if it steps from centre to centre, also diagonally."""
    _, _, dx, dy = _edges(polygon)
    return float(np.maximum(np.abs(dx), np.abs(dy)).sum())


def outline(polygon: Polygon, shape: tuple[int, int]) -> Plane:
    """Return the pixels (rows, columns) whose centre lies on the path."""
    return near_path(polygon, shape, (FLOAT_ERROR, FLOAT_ERROR))


def combine(polygons: Sequence[Polygon], traced: Sequence[bool], shape: tuple[int, int]) -> Plane:
    """Combine several polygons of a plane into one ROI (DICOM PS3.3, C.8.8.6.3).

    Their exclusive disjunction: one polygon is in, a polygon within it is a hole, one within the
    hole is in again. The path of a traced polygon is part of the ROI: it was led along the
    outermost pixels of a mask, which would lose that rim without it.
    """
    inside = np.zeros(shape, dtype=np.bool_)
    for polygon in polygons:
        inside ^= interior(polygon, shape)
    for polygon, on_centres in zip(polygons, traced, strict=True):
        if on_centres:
            inside |= outline(polygon, shape)
    return inside


def overlap_in_part(polygons: Sequence[Polygon], shape: tuple[int, int], reach: Reach) -> bool:
    """Return whether two polygons overlap with neither inside the other, or are the same.

    Union or exclusive disjunction: such contours are ambiguous. Two are the same where they differ
    only in pixels within reach of both paths.
    """
    planes = [interior(polygon, shape) for polygon in polygons]
    for i, one in enumerate(planes):
        for j, other in enumerate(planes[:i]):
            if not (one & other).any():
                continue
            apart = one ^ other
            if (one & apart).any() and (other & apart).any():
                return True
            near = near_path(polygons[i], shape, reach) & near_path(polygons[j], shape, reach)
            if not (apart & ~near).any():
                return True
    return False


def _edges(polygon: Polygon) -> tuple[NDArray[np.float64], ...]:
    """Return the start (x, y) of each edge, and its extent."""
    way = np.roll(polygon, -1, axis=0) - polygon
    return polygon[:, 0], polygon[:, 1], way[:, 0], way[:, 1]
