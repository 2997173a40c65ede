"""The three LBP-3D images (m1, m2, kurtosis) in blocks of voxels, bit for bit PyRadiomics' own.

PyRadiomics samples a cubic spline at the 42 vertices of an icosphere around each voxel, marks the
samples that are at least the voxel's value, and describes the marks by spherical harmonics. It
holds complex arrays of voxels x 42 x 4 for that; here a block of voxels is held at a time.

Every addition is made in the order of the original: in flat tissue its marks and norms are decided
by the last bit, and a voxel on the other side of a percentile is a visible difference.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import spline_filter
from scipy.stats import kurtosis

from client.imaging.radiomics.jit import compiled, fma

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
    """Positions of the samples of each vertex along one axis.

    `start` (42,) is the first tap relative to the voxel, in the padded image;
    `weights` (42, 4, n) are those of the taps, `inside` (42, n) is True for samples in the image.
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
    """A volume's spline coefficients, mirrored at its borders, and the positions of its samples.

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
def _multiply_taps(
    products: Doubles,
    coefficients: Doubles,
    at: tuple[int, int, int],
    wz: Doubles,
    wy: Doubles,
    n: int,
) -> None:
    """Multiply stretches of n coefficients by the 4 x 4 weights along z and y.

    Parameters
    ----------
    at : of the first coefficient; rows a slice; coefficients a row.
    """
    corner, rows, row_length = at
    for tap in range(16):
        start = corner + (tap // 4 * rows + tap % 4) * row_length
        _multiply(
            products,
            np.uint64(tap * _LINE),
            coefficients,
            np.uint64(start),
            wz[tap // 4],
            wy[tap % 4],
            np.uint64(n),
        )


@compiled
def _end_of(places: Ints, first: int, end: int) -> int:
    """Return the position after the last place, from `first` on, that is before `end`."""
    last = first + 1
    while last < len(places) and places[last] < end:
        last += 1
    return last


@compiled
def _up(n: int) -> int:
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
        last = _end_of(places, first, row * width + min(width, (stretch + 1) * _STRETCH))
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
                corner = ((z + starts[0, v]) * rows + y + starts[1, v]) * row_length + x0
                box, ahead = (corner, rows, row_length), _up(n + 5)
                taps_z, taps_y = weights_z[v, :, z], weights_y[v, :, y]
                _multiply_taps(products, coefficients, box, taps_z, taps_y, ahead)
            weights_at = np.uint64((stretch * len(groups) + v) * TAPS * _LINE + before)
            start, length = np.uint64(starts[2, v]), np.uint64(_up(n))
            _add_taps(total, products, start, stretches, weights_at, length)
            for i in range(first, last):
                inside = inside_x[v, places[i] - row * width]
                out[i] = total[places[i] - places[first]] if inside else 0.0
        first = last


Complex = NDArray[np.complex128]

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


def images(
    image: Floats, roi: NDArray[np.bool_], around: Sphere
) -> tuple[Doubles, Doubles, Doubles] | None:
    """Return m1, m2 and kurtosis of the ROI's voxels (n,), in the order of `numpy.where(roi)`.

    None for an image that the blocks do not cover; PyRadiomics' own code has to make the images
    then.
    """
    if image.dtype not in (np.float32, np.float64):
        return None
    prepared = sampler(image, around.vertices)
    if prepared is None:
        return None
    places = np.flatnonzero(roi)
    centres = image.reshape(-1)[places]
    m1, m2, k = (np.empty(len(places)) for _ in range(3))
    table = _first_level(around.harmonics)
    parts = np.ascontiguousarray(around.harmonics[:, 1:].T)
    squares = fast_squares if squares_hold() else original_squares
    kurtoses = fast_kurtosis if kurtosis_holds() else original_kurtosis
    for first in range(0, len(places), BLOCK):
        here = slice(first, first + BLOCK)
        samples = sample(prepared, places[here], image)
        k[here] = kurtoses(samples)
        counts, sums = _coefficients(samples, centres[here], parts)
        m2[here] = np.real(np.sqrt(squares(sums, parts)))
        m1[here] = table[counts]
    return m1, m2, k


def original_kurtosis(samples: Floats) -> Floats:
    """Return the kurtosis of every column as scipy has it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found: Floats = kurtosis(np.ascontiguousarray(samples.T), axis=1)
    return found


@cache
def kurtosis_holds() -> bool:
    """Return whether the installed scipy and numpy compute kurtosis as compiled here.

    Its sums are theirs to the last bit; another release may add in another order.
    """
    samples = np.random.default_rng(0).normal(0, 40, (42, 200)).astype(np.float32)
    samples[:, ::7] = samples[:1, ::7]
    samples[:, 3::7] = np.round(samples[:, 3::7] / 60)
    return np.array_equal(fast_kurtosis(samples), original_kurtosis(samples), equal_nan=True)


@compiled
def fast_kurtosis(samples: Floats) -> Floats:
    """Return scipy's excess kurtosis of each column, in the samples' own precision."""
    width, n = samples.shape
    kind = samples.dtype.type
    count, three = kind(width), kind(3)
    eps = np.finfo(samples.dtype).eps
    square = np.empty_like(samples)
    mean = _paired_sums(samples)
    for i in range(n):
        mean[i] /= count
    for v in range(width):
        for i in range(n):
            step = samples[v, i] - mean[i]
            square[v, i] = step * step
    m2 = _paired_sums(square)
    for v in range(width):
        for i in range(n):
            square[v, i] *= square[v, i]
    m4 = _paired_sums(square)
    for i in range(n):
        second = m2[i] / count
        limit = eps * mean[i]
        flat = second <= limit * limit
        m4[i] = np.nan if flat else m4[i] / count / (second * second) - three
    return m4


@compiled
def _paired_sums(values: Floats) -> Floats:
    """Add up 8 to 128 rows as numpy adds values: eight sums of every eighth, then these."""
    rows, n = values.shape
    whole = rows - rows % 8
    sums = values[:8].copy()
    for k in range(8, whole):
        for i in range(n):
            sums[k % 8, i] += values[k, i]
    total = np.empty(n, dtype=values.dtype)
    for i in range(n):
        first = (sums[0, i] + sums[1, i]) + (sums[2, i] + sums[3, i])
        total[i] = first + ((sums[4, i] + sums[5, i]) + (sums[6, i] + sums[7, i]))
    for k in range(whole, rows):
        for i in range(n):
            total[i] += values[k, i]
    return total


def _first_level(harmonics: Complex) -> Doubles:
    """Return m1 for each number of marks: Y_0^0 is the same at every vertex."""
    first = np.ascontiguousarray(harmonics[:, :1].T)
    sums = np.concatenate(([0], np.cumsum(first[0])))[None]
    return np.real(np.sqrt(original_squares(sums, first)))


def original_squares(sums: Complex, harmonics: Complex) -> Complex:
    """Return the sum over the vertices of the squares of one level's sum of harmonics.

    PyRadiomics squares the complex sum as it is (f ** 2, not |f| ** 2) and takes the real part of
    the root. Products are numpy's, whose last bit depends on the processor, as are the original's.

    Parameters
    ----------
    sums : of each voxel's marked vertices, (orders, n).
    harmonics : of each vertex, (orders, 42).
    """
    total = np.multiply(sums[0][:, None], harmonics[0])
    for order in range(1, len(harmonics)):
        total += np.multiply(sums[order][:, None], harmonics[order])
    np.square(total, out=total)
    # from left to right; numpy's sum would add in pairs
    added: Complex = np.cumsum(total, axis=1)[:, -1]
    return added


def fast_squares(sums: Complex, harmonics: Complex) -> Complex:
    """Compute the same in a compiled loop."""
    found = np.zeros(sums.shape[1], dtype=np.complex128)
    _add_squares(sums, harmonics, found)
    return found


@cache
def squares_hold() -> bool:
    """Return whether numpy multiplies complex numbers on this processor like the compiled loop."""
    random = np.random.default_rng(0)
    real, imaginary = random.normal(size=(2, 3, 300))
    sums = real + 1j * imaginary
    return np.array_equal(
        fast_squares(sums, sums[:, :42].copy()), original_squares(sums, sums[:, :42].copy())
    )


@compiled
def _add_squares(sums: Complex, harmonics: Complex, found: Complex) -> None:
    """Use fused products, as numpy does where the processor has them."""
    for v in range(harmonics.shape[1]):
        c, d = harmonics[0, v].real, harmonics[0, v].imag
        e, f = harmonics[1, v].real, harmonics[1, v].imag
        g, h = harmonics[2, v].real, harmonics[2, v].imag
        for i in range(len(found)):
            a, b = sums[0, i].real, sums[0, i].imag
            x, y = fma(a, c, -(b * d)), fma(a, d, b * c)
            a, b = sums[1, i].real, sums[1, i].imag
            x += fma(a, e, -(b * f))
            y += fma(a, f, b * e)
            a, b = sums[2, i].real, sums[2, i].imag
            x += fma(a, g, -(b * h))
            y += fma(a, h, b * g)
            found[i] += complex(fma(x, x, -(y * y)), fma(x, y, y * x))


def _coefficients(samples: Floats, centres: Floats, harmonics: Complex) -> tuple[Ints, Complex]:
    """Return each voxel's number of marks (n,) and sums of marked harmonics (orders, n).

    A mark is a sample (42, n) that is at least the centre.
    """
    n, orders = len(centres), len(harmonics)
    counts = np.zeros(n, dtype=np.int64)
    parts = np.zeros((2, orders, n))
    _add_marks(samples, centres, np.stack([harmonics.real, harmonics.imag]), counts, parts)
    return counts, parts[0] + 1j * parts[1]


@compiled
def _add_marks(
    samples: Floats, centres: Floats, harmonics: Doubles, counts: Ints, parts: Doubles
) -> None:
    """Add up marks, and the real and imaginary parts of their harmonics (2, orders, 42)."""
    for v in range(len(samples)):
        for i in range(len(counts)):
            counts[i] += samples[v, i] >= centres[i]
        for part in range(2):
            for order in range(harmonics.shape[1]):
                x = harmonics[part, order, v]
                for i in range(len(counts)):
                    parts[part, order, i] += x if samples[v, i] >= centres[i] else 0.0
