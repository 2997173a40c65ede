"""The three LBP-3D images (m1, m2, kurtosis) in blocks of voxels, bit for bit PyRadiomics' own.

PyRadiomics samples a cubic spline at the 42 vertices of an icosphere around each voxel, marks the
samples that are at least the voxel's value, and describes the marks by spherical harmonics. It
holds complex arrays of voxels x 42 x 4 for that; here a block of voxels is held at a time.

Every addition is made in the order of the original: in flat tissue its marks and norms are decided
by the last bit, and a voxel on the other side of a percentile is a visible difference.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import spline_filter
from scipy.stats import kurtosis

from client.imaging.radiomics.jit import compiled

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Complex = NDArray[np.complex128]
Ints = NDArray[np.int64]

TAPS = 4
"""Coefficients of a cubic spline along one axis."""

BEFORE, AFTER = 2, 3
"""Voxels that are mirrored at the borders, so that no tap leaves the array."""

BLOCK = 2048
"""Voxels at a time: their samples fit into the processor's cache."""


@dataclass(frozen=True)
class Sphere:
    """Vertices (42, 3) in the order z, y, x, and their harmonics Y_0^0, Y_1^-1, Y_1^0, Y_1^1."""

    vertices: Doubles
    harmonics: NDArray[np.complex128]


def sphere() -> Sphere | None:
    """Return PyRadiomics' icosphere of radius 1, or None where a library of it is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from scipy.special import sph_harm
            from trimesh.creation import icosphere

            vertices = np.array(icosphere(1, 1).vertices)
            theta = np.arccos(np.true_divide(vertices[:, 2], 1))
            phi = np.arctan2(vertices[:, 1], vertices[:, 0])
            orders = ((0, 0), (-1, 1), (0, 1), (1, 1))
            harmonics = np.column_stack([sph_harm(m, n, theta, phi) for m, n in orders])
    except ImportError:
        return None
    return Sphere(vertices, harmonics)


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
    numbers these. The axes (z, y, x) are in that order.
    """

    coefficients: Doubles
    axes: tuple[Axis, Axis, Axis]
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
    mirrored = np.pad(coefficients, (BEFORE, AFTER), mode="reflect")
    return Sampler(mirrored, (axes[0], axes[1], axes[2]), groups[order], order)


def images(
    image: Floats, roi: NDArray[np.bool_], around: Sphere
) -> tuple[Doubles, Doubles, Doubles] | None:
    """Return m1, m2 and kurtosis of the ROI's voxels (n,), in the order of `numpy.where(roi)`.

    None where the image is of a kind that the blocks do not hold for; PyRadiomics' own code has
    to make the images then.
    """
    if image.dtype not in (np.float32, np.float64):
        return None
    prepared = sampler(image, around.vertices)
    if prepared is None:
        return None
    places = np.flatnonzero(roi)
    rows = _rows(places, roi.shape[2])
    m1, m2, k = (np.empty(len(places)) for _ in range(3))
    table = _first_level(around.harmonics)
    parts = np.ascontiguousarray(around.harmonics[:, 1:])
    compiled_holds = _kurtosis_holds()
    for first, last in _blocks(rows, len(places)):
        here = places[first:last]
        samples = np.empty((len(here), len(around.vertices)), dtype=image.dtype)
        _sample(prepared, here, image.shape, samples)
        k[first:last] = _kurtosis(samples) if compiled_holds else _original_kurtosis(samples)
        counts, sums = _coefficients(samples, image.reshape(-1)[here], parts)
        m2[first:last] = _norms(sums, parts)
        m1[first:last] = table[counts]
    return m1, m2, k


def _rows(places: Ints, width: int) -> Ints:
    """Find where in `places` a new row of the volume begins."""
    row = places // width
    return np.concatenate(([0], np.flatnonzero(np.diff(row)) + 1)).astype(np.int64)


def _blocks(rows: Ints, count: int) -> Iterator[tuple[int, int]]:
    """Ranges of about BLOCK voxels that begin where rows begin."""
    first = 0
    while first < count:
        after = np.searchsorted(rows, first + BLOCK)
        last = int(rows[after]) if after < len(rows) else count
        yield first, last
        first = last


def _sample(prepared: Sampler, places: Ints, shape: tuple[int, ...], samples: Floats) -> None:
    z, y, x = prepared.axes
    starts = np.stack([z.start, y.start, x.start])
    _sample_rows(
        prepared.coefficients,
        prepared.groups,
        prepared.order,
        starts,
        z.weights,
        y.weights,
        x.weights,
        z.inside,
        y.inside,
        x.inside,
        places,
        shape[1],
        shape[2],
        samples,
    )


@compiled
def _scale(out: Doubles, line: Doubles, wz: float, wy: float, start: int, n: int) -> None:
    """Multiply a stretch of coefficients by two weights."""
    for i in range(n):
        out[start + i] = line[start + i] * wz * wy


@compiled
def _add_taps(
    total: Doubles, products: Doubles, base: int, weights: Doubles, start: int, n: int
) -> None:
    """Add up the taps of n voxels of a row; on its own, the compiler makes vectors of it."""
    for i in range(n):
        total[i] = 0.0
    for r in range(16):
        p = products[r]
        for i in range(n):
            s = total[i]
            s += p[base + i] * weights[0, start + i]
            s += p[base + i + 1] * weights[1, start + i]
            s += p[base + i + 2] * weights[2, start + i]
            s += p[base + i + 3] * weights[3, start + i]
            total[i] = s


@compiled
def _sample_rows(
    coefficients: Doubles,
    groups: Ints,
    order: Ints,
    starts: Ints,
    weights_z: Doubles,
    weights_y: Doubles,
    weights_x: Doubles,
    inside_z: NDArray[np.bool_],
    inside_y: NDArray[np.bool_],
    inside_x: NDArray[np.bool_],
    places: Ints,
    height: int,
    width: int,
    samples: Floats,
) -> None:
    """Sample the spline around voxels that are sorted by row.

    Adds c * w_z * w_y * w_x over the 4 x 4 x 4 taps in that order, as scipy does; the products
    with w_z and w_y are shared by the vertices of a group and by neighbouring voxels.
    """
    reach = width + BEFORE + AFTER
    products = np.empty((16, reach))
    totals = np.empty((len(groups), width))
    first = 0
    while first < len(places):
        row = places[first] // width
        last = first + 1
        while last < len(places) and places[last] // width == row:
            last += 1
        z = row // height
        y = row - z * height
        x0 = places[first] - row * width
        n = places[last - 1] - row * width - x0 + 1
        known = -1
        for v in range(len(groups)):
            if inside_z[v, z] and inside_y[v, y]:
                if groups[v] != known:
                    known = groups[v]
                    for tap in range(16):
                        line = coefficients[z + starts[0, v] + tap // 4, y + starts[1, v] + tap % 4]
                        wz, wy = weights_z[v, tap // 4, z], weights_y[v, tap % 4, y]
                        _scale(products[tap], line, wz, wy, x0, n + 5)
                _add_taps(totals[v], products, x0 + starts[2, v], weights_x[v], x0, n)
            else:
                totals[v, :n] = 0.0
        for i in range(first, last):
            x = places[i] - row * width
            for v in range(len(groups)):
                samples[i, order[v]] = totals[v, x - x0] if inside_x[v, x] else 0.0
        first = last


def _original_kurtosis(samples: Floats) -> Floats:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found: Floats = kurtosis(samples, axis=1)
    return found


@cache
def _kurtosis_holds() -> bool:
    """Tell if the installed scipy and numpy have the kurtosis that is compiled here.

    Its sums are theirs to the last bit; another release may add in another order.
    """
    samples = np.random.default_rng(0).normal(0, 40, (200, 42)).astype(np.float32)
    samples[::7] = samples[::7, :1]
    samples[3::7] = np.round(samples[3::7] / 60)
    return np.array_equal(_kurtosis(samples), _original_kurtosis(samples), equal_nan=True)


@compiled
def _kurtosis(samples: Floats) -> Floats:
    """Return scipy's excess kurtosis of each row, in the samples' own precision."""
    n, width = samples.shape
    found = np.empty(n, dtype=samples.dtype)
    count = samples.dtype.type(width)
    three = samples.dtype.type(3)
    eps = np.finfo(samples.dtype).eps
    square = np.empty(width, dtype=samples.dtype)
    for i in range(n):
        mean = _paired_sum(samples[i]) / count
        for v in range(width):
            step = samples[i, v] - mean
            square[v] = step * step
        m2 = _paired_sum(square) / count
        for v in range(width):
            square[v] = square[v] * square[v]
        m4 = _paired_sum(square) / count
        limit = eps * mean
        if m2 <= limit * limit:
            found[i] = np.nan
        else:
            found[i] = m4 / (m2 * m2) - three
    return found


@compiled
def _paired_sum(values: Floats) -> Any:
    """Add up 8 to 128 values as numpy does: eight sums of every eighth value, then these."""
    a, b, c, d = values[0], values[1], values[2], values[3]
    e, f, g, h = values[4], values[5], values[6], values[7]
    whole = len(values) - len(values) % 8
    for k in range(8, whole, 8):
        a += values[k]
        b += values[k + 1]
        c += values[k + 2]
        d += values[k + 3]
        e += values[k + 4]
        f += values[k + 5]
        g += values[k + 6]
        h += values[k + 7]
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for k in range(whole, len(values)):
        total += values[k]
    return total


def _first_level(harmonics: Complex) -> Doubles:
    """Return m1 for each number of marks: Y_0^0 is the same at every vertex."""
    n = len(harmonics)
    marked = np.where(np.arange(n)[None, :] < np.arange(n + 1)[:, None], 1.0, -1.0)
    first = np.ascontiguousarray(harmonics[:, :1])
    return _norms(_coefficients(marked, np.zeros(n + 1), first)[1], first)


def _norms(coefficients: Complex, harmonics: Complex) -> Doubles:
    """Return the norm over the vertices of one level's sum of harmonics.

    PyRadiomics squares the complex sum as it is (f ** 2, not |f| ** 2) and takes the real part of
    the root. Products are numpy's, whose last bit depends on the processor, as are the original's.

    Parameters
    ----------
    coefficients : of each voxel, (n, orders).
    harmonics : of each vertex, (42, orders).
    """
    total = np.multiply(coefficients[:, 0, None], harmonics[:, 0].copy())
    for order in range(1, harmonics.shape[1]):
        total += np.multiply(coefficients[:, order, None], harmonics[:, order].copy())
    np.square(total, out=total)
    return np.real(np.sqrt(_row_sums(total)))


@compiled
def _row_sums(values: Complex) -> Complex:
    """Add up each row from left to right; numpy would add in pairs."""
    sums = np.zeros(len(values), dtype=np.complex128)
    for i in range(len(values)):
        for v in range(values.shape[1]):
            sums[i] += values[i, v]
    return sums


@compiled
def _coefficients(samples: Floats, centres: Floats, harmonics: Complex) -> tuple[Ints, Complex]:
    """Return the number of marks of each voxel, and the sums of the marked vertices' harmonics.

    A mark is a sample that is at least the centre.
    """
    n, vertices = samples.shape
    orders = harmonics.shape[1]
    counts = np.zeros(n, dtype=np.int64)
    sums = np.zeros((n, orders), dtype=np.complex128)
    for i in range(n):
        for v in range(vertices):
            if samples[i, v] >= centres[i]:
                counts[i] += 1
                for order in range(orders):
                    sums[i, order] += harmonics[v, order]
    return counts, sums
