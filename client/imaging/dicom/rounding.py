"""Tell traced from drawn contours though their coordinates are rounded.

Tools that trace a mask lead the contour from voxel centre to voxel centre (OpenCV, rt-utils), and
the voxels on the path belong to it. Hand-drawn contours pay no heed to the grid, and a voxel
belongs to them when its centre lies inside. A coordinate rounded to 0.1 mm is up to an eighth of a
voxel off, so the two are told apart by how many coordinates agree with centres, and how likely
that is by chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from client.imaging.dicom.polygons import (
    FLOAT_ERROR,
    Polygon,
    Reach,
    band_area,
    length_in_pixels,
    near_path,
)

_MOST_DECIMALS = 4
_SINGLE = 6e-8
"""Relative error of 32 bits: 12.3 that passed through them reads 12.300000191."""
_ENOUGH = 4
"""Distinct values that show a step: fewer are multiples of a coarser one by chance too often."""
_BY_CHANCE = 1e-3
"""Likelihood below which no hand-drawn ROI has all its corners on centres."""
_TELLING = 0.25
"""Pixels of reach from which a corner with digits cut off may be anywhere."""


class Course(Enum):
    """Course of a contour: anywhere, through the centres of pixels, or nobody can tell."""

    DRAWN = "drawn"
    TRACED = "traced"
    UNCLEAR = "unclear"


def rounding_step(values: NDArray[np.float64]) -> float:
    """Coarsest power of ten (mm) that the values of one axis are multiples of; 0 below 1e-4.

    Each order of magnitude is looked at by itself: four significant digits round 123.4 more
    coarsely than 12.34.
    """
    own = np.unique(values[values != 0])
    if not own.size:
        return 0.0
    orders = np.floor(np.log10(np.abs(own)))
    groups = [own[orders == order] for order in np.unique(orders)]
    sure = max(map(_step, [group for group in groups if group.size >= _ENOUGH] or [own]))
    # few values may be round by chance: believe no more of them than one digit less
    return max(sure, *(min(_step(group), 10 * sure) for group in groups))


def reach_of(steps: NDArray[np.float64], to_pixels: NDArray[np.float64]) -> Reach:
    """Pixels along columns and rows by which a rounded corner may be off.

    Parameters
    ----------
    steps : (3,) of x, y, z in mm, from `rounding_step`.
    to_pixels : (2, 3), columns and rows per mm.
    """
    columns, rows = np.abs(to_pixels) @ (steps / 2) + FLOAT_ERROR
    return float(columns), float(rows)


def courses(polygons: Sequence[Polygon], reach: Reach) -> list[Course]:
    """Tell traced contours of one ROI from drawn ones.

    All together when all are on centres: a single pixel among them proves nothing by itself.
    """
    for wide in _reaches(reach):
        if all(_on_centres(polygon, wide) for polygon in polygons):
            if _chance(np.vstack(polygons), wide) < _BY_CHANCE:
                return [Course.TRACED] * len(polygons)
            break
    return [_course(polygon, reach, len(polygons)) for polygon in polygons]


def snapped(polygon: Polygon) -> Polygon:
    """Return the polygon with its corners on the nearest centres."""
    return np.rint(polygon)


def undecided(polygon: Polygon, shape: tuple[int, int], reach: Reach) -> int:
    """Count the pixels on a drawn path that meets centres as only a traced one does, else 0.

    Every path meets some within the reach of rounding. They are in or out by the rule of
    `interior`, as many in as out, which changes the ROI by less than any two readers differ. A
    path that meets more than half of what chance leaves out is a trace that was changed, or drawn
    on a grid that fits this one: nobody can tell whether its rim belongs to the ROI.
    """
    near = int(np.count_nonzero(near_path(polygon, shape, reach)))
    expected, most = band_area(polygon, reach), length_in_pixels(polygon)
    return near if near > (expected + most) / 2 + expected**0.5 else 0


def _step(values: NDArray[np.float64]) -> float:
    slack = _SINGLE * np.abs(values) + 1e-9
    for decimals in range(_MOST_DECIMALS + 1):
        if (np.abs(values - np.round(values, decimals)) <= slack).all():
            return float(10.0**-decimals)
    return 0.0


def _reaches(reach: Reach) -> Iterator[Reach]:
    """Yield how far rounding may move a corner, and how far cutting digits off."""
    yield reach
    if max(reach) > 2 * FLOAT_ERROR:
        yield 2 * reach[0], 2 * reach[1]


def _course(polygon: Polygon, reach: Reach, among: int) -> Course:
    if max(reach) >= _TELLING and _on_centres(polygon, (FLOAT_ERROR, FLOAT_ERROR)):
        # a grid of whole millimetres: its centres are whole numbers, rounded or not
        return Course.TRACED if _by_neighbours(polygon) else Course.UNCLEAR
    for wide in _reaches(reach):
        if _on_centres(polygon, wide):
            proven = among * _chance(polygon, wide) < _BY_CHANCE
            return Course.TRACED if proven else Course.UNCLEAR
    return Course.DRAWN


def _on_centres(polygon: Polygon, reach: Reach) -> bool:
    return bool((np.abs(polygon - np.rint(polygon)) <= reach).all())


def _by_neighbours(polygon: Polygon) -> bool:
    """Tell if every edge runs along a row, column or diagonal, as from pixel to neighbour."""
    way = np.abs(np.roll(np.rint(polygon), -1, axis=0) - np.rint(polygon))
    return bool(((way.min(axis=1) == 0) | (way[:, 0] == way[:, 1])).all())


def _chance(corners: Polygon, reach: Reach) -> float:
    """Likelihood that corners anywhere all come to lie on centres; equal coordinates count once."""
    centres = np.rint(corners)
    columns, rows = (len(np.unique(centres[:, axis])) for axis in (0, 1))
    share = np.minimum(2 * np.array(reach), 1)
    return float(share[0] ** columns * share[1] ** rows)
