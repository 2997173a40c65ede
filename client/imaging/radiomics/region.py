"""Geometry of the ROI, computed once and shared by every image type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.imaging.radiomics.jit import compiled

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_STEPS = (1, 0, -1)


@dataclass(frozen=True)
class Region:
    """An ROI in its box.

    Parameters
    ----------
    mask : (z, y, x), of the whole padded box that the filters see.
    box : the ROI's bounding box in it.
    inside : the mask, cut to that.
    places : flat index of each voxel, in raster order, in the bounding box with one voxel of
        padding on each side; a neighbour is then always a valid index.
    stretches : start in `places` of each stretch of voxels side by side, and their number.
    padded : shape of that padded bounding box.
    angles : (n, 3) steps z, y, x of GLCM and GLRLM, in PyRadiomics' order.
    steps : the same as differences of flat indices.
    neighbours : number of the 26 neighbours of each voxel in the ROI.
    paired : of each angle, True if any two voxels are neighbours along it.
    crossed : of each angle, True if a line along it meets the ROI more than once.
    """

    mask: Mask
    box: tuple[slice, ...]
    inside: Mask
    places: Ints
    stretches: Ints
    padded: tuple[int, int, int]
    angles: Ints
    steps: Ints
    neighbours: NDArray[np.int32]
    paired: Mask
    crossed: Mask

    @property
    def size(self) -> int:
        """Number of voxels."""
        return len(self.places)


def region(mask: Mask) -> Region:
    """Compute the geometry of a mask (z, y, x) with at least one voxel."""
    box = bounding_box(mask)
    inside = mask[box]
    padded = np.pad(inside, 1)
    places = np.flatnonzero(padded)
    breaks = np.flatnonzero(np.diff(places) != 1) + 1
    stretches = np.concatenate(([0], breaks, [len(places)])).astype(np.int64)
    angles = _angles(inside.shape)
    strides = np.array([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
    steps = angles @ strides
    flat = padded.reshape(-1)
    neighbours = np.zeros(len(places), dtype=np.int32)
    paired = np.zeros(len(angles), dtype=np.bool_)
    _count(flat, places, steps, neighbours, paired)
    crossed = np.array(
        [
            near or _meets_twice(places, padded.shape, angle)
            for near, angle in zip(paired, angles, strict=True)
        ],
        dtype=np.bool_,
    )
    depth, height, width = padded.shape
    shape = (depth, height, width)
    return Region(
        mask, box, inside, places, stretches, shape, angles, steps, neighbours, paired, crossed
    )


@compiled
def _count(
    inside: Mask, places: Ints, steps: Ints, neighbours: NDArray[np.int32], paired: Mask
) -> None:
    """Count each voxel's neighbours, and mark the angles that have any."""
    for i in range(len(places)):
        for a in range(len(steps)):
            after = inside[places[i] + steps[a]]
            paired[a] |= after
            neighbours[i] += after + inside[places[i] - steps[a]]


def bounding_box(mask: Mask) -> tuple[slice, ...]:
    """Return the smallest box around the voxels of a mask."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        found = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(box)


def _angles(shape: tuple[int, ...]) -> Ints:
    """Return one of each pair of opposite steps to a neighbour, none along a single-voxel axis."""
    steps = [
        (z, y, x)
        for z in _STEPS
        for y in _STEPS
        for x in _STEPS
        if all(step == 0 or size > 1 for step, size in zip((z, y, x), shape, strict=True))
    ]
    return np.array(steps[: len(steps) // 2], dtype=np.int64).reshape(-1, 3)


def _meets_twice(places: Ints, shape: tuple[int, ...], angle: NDArray[Any]) -> bool:
    """Return whether two voxels, neighbours or not, lie on one line along the angle."""
    coordinates = np.stack(np.unravel_index(places, shape), axis=1)
    axis = int(np.flatnonzero(angle)[0])
    along = coordinates[:, axis] * angle[axis]
    lines = coordinates - along[:, None] * angle
    return len(np.unique(lines, axis=0)) < len(places)
