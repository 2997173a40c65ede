"""Shape features: surface and volume from tables of cubes, diameters over the convex hull."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from radiomics import cShape
from radiomics.shape import RadiomicsShape
from scipy.spatial import ConvexHull, QhullError

from client.imaging.radiomics.jit import compiled
from client.imaging.radiomics.matrices import names_of

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_CORNERS = ((0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1))
"""Corners of a cube of 2 x 2 x 2 voxels: bit k of a cube's number is corner k."""


class Shape(RadiomicsShape):  # type: ignore[misc]  # PyRadiomics has no types
    """PyRadiomics' class and formulas on the mask of the bounding box."""

    def __init__(self, inside: Mask, spacing: tuple[float, ...], settings: Mapping[str, Any]):
        self.logger = logging.getLogger("radiomics")
        self.settings = dict(settings)
        self.label = self.settings.get("label", 1)
        self.voxelBased = False
        self.coefficients: dict[str, Any] = {}
        self.enabledFeatures: dict[str, bool] = {}
        self.featureValues: dict[str, Any] = {}
        self.featureNames = names_of(cast(Hashable, type(self)))
        self.maskArray = np.pad(inside, 1)
        self.pixelSpacing = np.array(spacing[::-1])
        self.labelledVoxelCoordinates = np.where(self.maskArray)
        steps = (
            float(self.pixelSpacing[0]),
            float(self.pixelSpacing[1]),
            float(self.pixelSpacing[2]),
        )
        self.SurfaceArea, self.Volume = surface_and_volume(self.maskArray, steps)
        self.diameters = diameters(self.maskArray, self.pixelSpacing)
        self.eigenValues = self._eigenvalues()

    def _eigenvalues(self) -> Doubles:
        """Use the original's covariance, with its rounding of tiny negative values."""
        coordinates = np.array(self.labelledVoxelCoordinates, dtype="int").transpose((1, 0))
        physical = coordinates * self.pixelSpacing[None, :]
        physical -= np.mean(physical, axis=0)
        physical /= np.sqrt(len(coordinates))
        # those of a symmetric matrix are real
        values = cast(Doubles, np.linalg.eigvals(np.dot(physical.T.copy(), physical)))
        values[(values < 0) & (values > -1e-10)] = 0
        values.sort()
        return values


@dataclass(frozen=True)
class Cubes:
    """Mesh within each of the 256 cubes.

    Parameters
    ----------
    surface : (256,) its area.
    volume : (256,) six times its volume seen from the origin, with the cube there.
    shift : (256, 3) growth of that for a cube one voxel further along an axis.
    """

    surface: Doubles
    volume: Doubles
    shift: Doubles


@cache
def cubes(spacing: tuple[float, float, float]) -> Cubes:
    """Ask PyRadiomics' own marching cubes for the mesh of every cube, one at a time."""
    steps = np.array(spacing)
    numbers = np.arange(256)
    filled = np.zeros((256, 2, 2, 2), dtype=np.bool_)
    for corner, place in enumerate(_CORNERS):
        filled[(slice(None), *place)] = numbers >> corner & 1
    single = np.array([cShape.calculate_coefficients(cube, steps)[:2] for cube in filled])
    shift = np.empty((256, 3))
    for axis in range(3):
        width = [(0, 0)] * 3
        width[axis] = (1, 0)
        for number, cube in enumerate(filled):
            # behind a layer of nothing the cube is one further, and another cube is before it
            moved = np.pad(cube, width)
            front = int(_cube_numbers(np.take(moved, (0, 1), axis=axis))[0, 0, 0])
            volume = cShape.calculate_coefficients(moved, steps)[1]
            shift[number, axis] = volume - single[front, 1] - single[number, 1]
    return Cubes(single[:, 0], single[:, 1], shift)


def surface_and_volume(mask: Mask, spacing: tuple[float, float, float]) -> tuple[float, float]:
    """Return area and volume of PyRadiomics' mesh; the mask does not touch the array's edge."""
    numbers = _cube_numbers(mask)
    counts, places = _tally(numbers)
    table = cubes(spacing)
    volume = counts @ table.volume + float((places * table.shift).sum())
    return float(counts @ table.surface), float(volume)


def _cube_numbers(mask: Mask) -> NDArray[np.uint8]:
    """Return the number of the cube that begins at each voxel but the last of each axis."""
    depth, height, width = (size - 1 for size in mask.shape)
    numbers = np.zeros((depth, height, width), dtype=np.uint8)
    for corner, (z, y, x) in enumerate(_CORNERS):
        part = mask[z : z + depth, y : y + height, x : x + width]
        numbers |= part.astype(np.uint8) << np.uint8(corner)
    return numbers


@compiled
def _tally(numbers: NDArray[np.uint8]) -> tuple[Ints, Ints]:
    """Return how often each cube occurs, and the sums of its places along each axis."""
    counts = np.zeros(256, dtype=np.int64)
    places = np.zeros((256, 3), dtype=np.int64)
    depth, height, width = numbers.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                number = numbers[z, y, x]
                counts[number] += 1
                places[number, 0] += z
                places[number, 1] += y
                places[number, 2] += x
    return counts, places


def diameters(mask: Mask, spacing: Doubles) -> tuple[float, float, float, float]:
    """Return the largest distances of mesh vertices: within a slice, column, row, and of all."""
    corners = _vertices(mask)
    found = []
    for axis in range(3):
        ends = _line_ends(corners, axis)
        planes = np.concatenate(([0], np.flatnonzero(np.diff(ends[:, axis])) + 1, [len(ends)]))
        points = ends * 0.5 * spacing
        found.append(float(np.sqrt(_farthest(points, planes.astype(np.int64)))))
    hull = _hull(_line_ends(corners, 0) * 0.5 * spacing)
    whole = np.array([0, len(hull)], dtype=np.int64)
    return found[0], found[1], found[2], float(np.sqrt(_farthest(hull, whole)))


def _vertices(mask: Mask) -> Ints:
    """Return the middle of each edge between a voxel of the mask and another, doubled, (n, 3)."""
    found = []
    for axis in range(3):
        after = np.diff(mask.view(np.int8), axis=axis) != 0
        places = 2 * np.stack(np.nonzero(after), axis=1)
        places[:, axis] += 1
        found.append(places)
    return np.concatenate(found)


def _line_ends(corners: Ints, axis: int) -> Ints:
    """Return the first and the last vertex of each line within the planes across an axis.

    Between two vertices of a line no third is the farthest from anything. They are sorted by plane.
    """
    second, third = (other for other in range(3) if other != axis)
    order = np.lexsort((corners[:, third], corners[:, second], corners[:, axis]))
    ordered = corners[order]
    new = np.any(np.diff(ordered[:, [axis, second]], axis=0) != 0, axis=1)
    kept = np.concatenate(([True], new)) | np.concatenate((new, [True]))
    return ordered[kept]


def _hull(points: Doubles) -> Doubles:
    """Return the corners of the convex hull; all points where they do not span a volume."""
    try:
        corners: Ints = ConvexHull(points).vertices
    except QhullError:
        return points
    return points[corners]


@compiled
def _farthest(points: Doubles, planes: Ints) -> float:
    """Return the largest squared distance within a plane; `planes` is where each begins."""
    largest = 0.0
    for plane in range(len(planes) - 1):
        for i in range(planes[plane], planes[plane + 1]):
            for j in range(planes[plane], i):
                a = points[i, 0] - points[j, 0]
                b = points[i, 1] - points[j, 1]
                c = points[i, 2] - points[j, 2]
                largest = max(largest, a * a + b * b + c * c)
    return largest
