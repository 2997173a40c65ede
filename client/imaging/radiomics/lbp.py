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
from scipy.stats import kurtosis

from client.imaging.radiomics.jit import compiled, fma
from client.imaging.radiomics.sampling import sample, sampler

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Complex = NDArray[np.complex128]
Ints = NDArray[np.int64]

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

    None where the image is of a kind that the blocks do not hold for; PyRadiomics' own code has
    to make the images then.
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
    squares = _squares if _squares_hold() else _original_squares
    kurtoses = _kurtosis if _kurtosis_holds() else _original_kurtosis
    for first in range(0, len(places), BLOCK):
        here = slice(first, first + BLOCK)
        samples = sample(prepared, places[here], image)
        k[here] = kurtoses(samples)
        counts, sums = _coefficients(samples, centres[here], parts)
        m2[here] = np.real(np.sqrt(squares(sums, parts)))
        m1[here] = table[counts]
    return m1, m2, k


def _original_kurtosis(samples: Floats) -> Floats:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found: Floats = kurtosis(np.ascontiguousarray(samples.T), axis=1)
    return found


@cache
def _kurtosis_holds() -> bool:
    """Tell if the installed scipy and numpy have the kurtosis that is compiled here.

    Its sums are theirs to the last bit; another release may add in another order.
    """
    samples = np.random.default_rng(0).normal(0, 40, (42, 200)).astype(np.float32)
    samples[:, ::7] = samples[:1, ::7]
    samples[:, 3::7] = np.round(samples[:, 3::7] / 60)
    return np.array_equal(_kurtosis(samples), _original_kurtosis(samples), equal_nan=True)


@compiled
def _kurtosis(samples: Floats) -> Floats:
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
    return np.real(np.sqrt(_original_squares(sums, first)))


def _original_squares(sums: Complex, harmonics: Complex) -> Complex:
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


def _squares(sums: Complex, harmonics: Complex) -> Complex:
    """Work out the same in a compiled loop."""
    found = np.zeros(sums.shape[1], dtype=np.complex128)
    _add_squares(sums, harmonics, found)
    return found


@cache
def _squares_hold() -> bool:
    """Tell if numpy multiplies complex numbers on this processor as the compiled loop does."""
    random = np.random.default_rng(0)
    real, imaginary = random.normal(size=(2, 3, 300))
    sums = real + 1j * imaginary
    return np.array_equal(
        _squares(sums, sums[:, :42].copy()), _original_squares(sums, sums[:, :42].copy())
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
