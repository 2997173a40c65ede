"""Samples of a cubic spline around the voxels of an ROI, as scipy takes them, for LBP-3D."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import spline_filter

from client.imaging.radiomics.jit import compiled

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Index = np.uint64

TAPS = 4
"""Coefficients of a cubic spline along one axis."""

BEFORE, AFTER = 2, 3
"""Voxels that are mirrored at the borders, so that no tap leaves the array."""

_STRETCH, _STEP = 128, 4
"""Most voxels of a row at a time; their number is rounded up, as a rest of a vector is slow."""
_LINE = _STRETCH + 4 * _STEP


@dataclass(frozen=True)
class Axis:
    """Find where along one axis the samples of each vertex lie.

    `start` (42,) is the first tap relative to the voxel, in the padded image;
    `weights` (42, 4, n) are those of the taps, `inside` (42, n) says that the sample is in the
    image.
    """

    start: Ints
    weights: Doubles
    inside: NDArray[np.bool_]


def axis_of(offsets: Doubles, size: int) -> Axis | None:
    """Place the samples along an axis; None where rounding moves one into another interval.

    The fraction of a voxel is rounded together with its index, so the weights are a table over
    the index, not a constant.
    """
    places = np.arange(size)[None, :] + offsets[:, None]
    whole = np.floor(places)
    start = np.floor(offsets).astype(np.int64)
    if np.any(whole != np.arange(size)[None, :] + start[:, None]):
        return None
    start += BEFORE - 1
    y = places - whole
    z = 1.0 - y
    weights = np.empty((len(offsets), TAPS, size))
    weights[:, 0] = z * z * z / 6.0
    weights[:, 1] = (y * y * (y - 2.0) * 3.0 + 4.0) / 6.0
    weights[:, 2] = (z * z * (z - 2.0) * 3.0 + 4.0) / 6.0
    weights[:, 3] = 1.0 - weights[:, 0] - weights[:, 1] - weights[:, 2]
    inside = (places >= 0) & (places <= size - 1)
    return Axis(start, weights, inside)


@dataclass(frozen=True)
class Sampler:
    """A volume's spline coefficients, mirrored at its borders, and where its samples lie.

    `order` (42,) are the vertices, those with the same offsets along z and y together; `groups`
    numbers these. The axes (z, y, x) are in that order. `stretches` (stretches, 42, 4 * _LINE)
    are the weights along x.
    """

    coefficients: Doubles
    axes: tuple[Axis, Axis, Axis]
    stretches: Doubles
    groups: Ints
    order: Ints


def sampler(image: Floats, vertices: Doubles) -> Sampler | None:
    """Prepare to sample a volume (z, y, x) around its voxels; None where tables do not suffice."""
    _, numbers = np.unique(vertices[:, :2], axis=0, return_inverse=True)
    groups = numbers.reshape(-1).astype(np.int64)
    order = np.argsort(groups, kind="stable")
    axes = [axis_of(vertices[order, d], size) for d, size in enumerate(image.shape)]
    if axes[0] is None or axes[1] is None or axes[2] is None:
        return None
    coefficients = spline_filter(image, 3, output=np.float64, mode="constant")
    ends = (BEFORE, AFTER)
    mirrored = np.pad(coefficients, (ends, ends, (BEFORE, AFTER + _STEP)), mode="reflect")
    return Sampler(
        mirrored, (axes[0], axes[1], axes[2]), _stretches(axes[2].weights), groups[order], order
    )


def _stretches(weights: Doubles) -> Doubles:
    """Cut the weights along x (42, 4, n) into pieces of _STRETCH voxels, each in one block."""
    count, taps, n = weights.shape
    pieces = -(-n // _STRETCH)
    found = np.zeros((pieces, count, taps, _LINE))
    for piece in range(pieces):
        part = weights[:, :, piece * _STRETCH : (piece + 1) * _STRETCH]
        found[piece, :, :, : part.shape[2]] = part
    return found.reshape(pieces, count, taps * _LINE)


def sample(prepared: Sampler, places: Ints, image: Floats) -> Floats:
    """Sample the spline around voxels; returns (42, n) in the image's precision."""
    axes = prepared.axes
    samples = np.empty((len(prepared.order), len(places)), dtype=image.dtype)
    _sample_rows(
        prepared.coefficients.reshape(-1),
        prepared.groups,
        prepared.order,
        np.stack([axis.start for axis in axes]),
        axes[0].weights,
        axes[1].weights,
        prepared.stretches.reshape(-1),
        axes[0].inside,
        axes[1].inside,
        axes[2].inside,
        places,
        samples,
    )
    return samples


@compiled
def _add_taps(
    total: Doubles, products: Doubles, start: Index, weights: Doubles, at: Index, n: Index
) -> None:
    """Add up the taps of n voxels; all strides are constants, so the compiler makes vectors.

    Indices are unsigned and arrays whole: a slice, or a sign, takes longer than a short stretch.
    """
    line = np.uint64(_LINE)
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    for i in range(n):
        s = 0.0
        a = weights[at + i]
        b = weights[at + i + line]
        c = weights[at + i + line * two]
        d = weights[at + i + line * three]
        for r in range(np.uint64(16)):
            tap = start + i + r * line
            s += products[tap] * a
            s += products[tap + one] * b
            s += products[tap + two] * c
            s += products[tap + three] * d
        total[i] = s


@compiled
def _multiply(
    products: Doubles, start: Index, lines: Doubles, at: Index, wz: float, wy: float, n: Index
) -> None:
    """Multiply a stretch of coefficients by two weights."""
    for i in range(n):
        products[start + i] = lines[at + i] * wz * wy


@compiled
def _up(n: int) -> int:
    """Round up to whole steps."""
    return (n + _STEP - 1) // _STEP * _STEP


@compiled
def _sample_rows(
    coefficients: Doubles,
    groups: Ints,
    order: Ints,
    starts: Ints,
    weights_z: Doubles,
    weights_y: Doubles,
    stretches: Doubles,
    inside_z: NDArray[np.bool_],
    inside_y: NDArray[np.bool_],
    inside_x: NDArray[np.bool_],
    places: Ints,
    samples: Floats,
) -> None:
    """Sample the spline around voxels in raster order, a stretch of a row at a time.

    Adds c * w_z * w_y * w_x over the 4 x 4 x 4 taps in that order, as scipy does; the products
    with w_z and w_y are shared by the vertices of a group and by neighbouring voxels.
    """
    height, width = inside_y.shape[1], inside_x.shape[1]
    rows, row_length = height + BEFORE + AFTER, width + BEFORE + AFTER + _STEP
    products = np.zeros(16 * _LINE)
    total = np.empty(_LINE)
    first = 0
    while first < len(places):
        row = places[first] // width
        z = row // height
        y = row - z * height
        x0 = places[first] - row * width
        stretch = x0 // _STRETCH
        before = x0 - stretch * _STRETCH
        end = row * width + min(width, (stretch + 1) * _STRETCH)
        last = first + 1
        while last < len(places) and places[last] < end:
            last += 1
        n = places[last - 1] - places[first] + 1
        known = -1
        for v in range(len(groups)):
            out = samples[order[v]]
            if not (inside_z[v, z] and inside_y[v, y]):
                for i in range(first, last):
                    out[i] = 0.0
                continue
            if groups[v] != known:
                known = groups[v]
                for tap in range(16):
                    line = (z + starts[0, v] + tap // 4) * rows + y + starts[1, v] + tap % 4
                    _multiply(
                        products,
                        np.uint64(tap * _LINE),
                        coefficients,
                        np.uint64(line * row_length + x0),
                        weights_z[v, tap // 4, z],
                        weights_y[v, tap % 4, y],
                        np.uint64(_up(n + 5)),
                    )
            weights_at = (stretch * len(groups) + v) * TAPS * _LINE + before
            _add_taps(
                total,
                products,
                np.uint64(starts[2, v]),
                stretches,
                np.uint64(weights_at),
                np.uint64(_up(n)),
            )
            for i in range(first, last):
                out[i] = total[places[i] - places[first]]
            if not (inside_x[v, x0] and inside_x[v, x0 + n - 1]):
                for i in range(first, last):
                    if not inside_x[v, places[i] - row * width]:
                        out[i] = 0.0
        first = last
