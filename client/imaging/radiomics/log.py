"""Laplacian of Gaussian by recursive filters, as ITK computes it, many lines at a time.

The Gaussian and its second derivative are each approximated by two damped oscillations, of which
the filter of fourth order follows (Deriche 1993; Farnebäck and Westin 2006). ITK goes line by
line; here the lines of a plane go side by side. Every pass is rounded to the image's precision,
as there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from client.imaging.radiomics.jit import compiled

Doubles = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Index = np.uint64

FEWEST = 4
"""Voxels along an axis, for a recursion of fourth order to start."""

_LINES, _STEP = 64, 8
"""Lines that are filtered side by side, and the vectors that their number is rounded up to."""

_FREQUENCIES = np.array([0.6681, 2.0787])
_DECAYS = np.array([-1.3932, -1.3732])
_GAUSSIAN = np.array([[1.3530, -0.3531], [1.8151, 0.0902]])
_CURVATURE = np.array([[-1.3563, 0.3446], [5.2318, -2.2355]])
"""Cosine and sine amplitudes of the two oscillations."""


@dataclass(frozen=True)
class Recursion:
    """Coefficients of one filter: y = forward part + backward part.

    Parameters
    ----------
    forward : (4,) of x[i] to x[i - 3].
    backward : (4,) of x[i + 1] to x[i + 4].
    feedback : (4,) of y[i - 1] to y[i - 4], and the mirror image of it.
    """

    forward: Doubles
    backward: Doubles
    feedback: Doubles


@cache
def gaussian(sigma: float) -> Recursion:
    """Return the filter of a Gaussian; sigma in voxels."""
    forward, poles = _oscillations(sigma, *_GAUSSIAN)
    gain = 2 * forward.sum() / poles.sum() - forward[0]
    return _recursion(forward / gain, poles)


@cache
def second_derivative(sigma: float, scale: float) -> Recursion:
    """Return the filter of a Gaussian's second derivative; sigma in voxels, scale = factor."""
    smooth, poles = _oscillations(sigma, *_GAUSSIAN)
    curved, _ = _oscillations(sigma, *_CURVATURE)
    sum_d = poles.sum()
    # the part of the Gaussian that makes the response to a constant vanish
    forward = curved - smooth * (
        (2 * curved.sum() - sum_d * curved[0]) / (2 * smooth.sum() - sum_d * smooth[0])
    )
    sn, dn, en = (float((forward * np.arange(4) ** power).sum()) for power in range(3))
    sd, dd, ed = (float((poles * np.arange(5) ** power).sum()) for power in range(3))
    gain = (en * sd**2 - ed * sn * sd - 2 * dn * dd * sd + 2 * dd**2 * sn) / sd**3
    return _recursion(forward * (scale / gain), poles)


def _oscillations(sigma: float, cosines: Doubles, sines: Doubles) -> tuple[Doubles, Doubles]:
    """Return numerator (4,) and denominator (5,) of two damped oscillations' transform."""
    angles, damping = _FREQUENCIES / sigma, np.exp(_DECAYS / sigma)
    ones = np.ones(2)
    lower = np.stack([ones, -2 * damping * np.cos(angles), damping**2], axis=1)
    upper = np.stack(
        [cosines, damping * (sines * np.sin(angles) - cosines * np.cos(angles))], axis=1
    )
    numerator = np.convolve(upper[0], lower[1]) + np.convolve(upper[1], lower[0])
    return numerator, np.convolve(lower[0], lower[1])


def _recursion(forward: Doubles, poles: Doubles) -> Recursion:
    feedback = poles[1:]
    backward = np.append(forward[1:], 0.0) - feedback * forward[0]
    return Recursion(forward, backward, feedback)


def laplacian(
    image: Singles, box: tuple[slice, ...], spacing: tuple[float, ...], sigma: float
) -> Singles:
    """Return the scale-normalised Laplacian of Gaussian of a box in a volume (z, y, x).

    Parameters
    ----------
    spacing : x, y, z in mm.
    sigma : mm.
    """
    image = np.array(image)
    total = np.zeros([side.stop - side.start for side in box], dtype=np.float32)
    for axis in range(3):
        made = _filtered(image, 2 - axis, box, second_derivative(sigma / spacing[axis], sigma**2))
        for other in range(3):
            if other != axis:
                made = _filtered(made, 2 - other, box, gaussian(sigma / spacing[other]))
        total = (total + made * (1.0 / np.float64(spacing[axis]) ** 2)).astype(np.float32)
    return total


def _filtered(image: Singles, axis: int, box: tuple[slice, ...], filter_: Recursion) -> Singles:
    """Filter along an axis; after that, only the box is needed along it."""
    shape = list(image.shape)
    shape[axis] = box[axis].stop - box[axis].start
    made = np.empty(shape, dtype=np.float32)
    plane, line = (1, 2) if axis == 0 else (0, 3 - axis)
    order = [plane, axis, line]
    steps = [[array.strides[k] // 4 for k in order] for array in (image, made)]
    counts = [image.shape[k] for k in order]
    coefficients = np.concatenate([filter_.forward, filter_.backward, filter_.feedback])
    _filter_planes(
        image.reshape(-1),
        made.reshape(-1),
        np.array([counts, *steps]),
        box[axis].start,
        shape[axis],
        coefficients,
    )
    return made


@compiled
def _filter_planes(
    image: Singles, made: Singles, layout: Ints, start: int, needed: int, coefficients: Doubles
) -> None:
    """Filter each plane (n, lines) along its first axis, extended by its border values.

    Some lines at a time, whose values of one place lie side by side. `layout` has the numbers of
    planes, places and lines, and their strides in the image and in the result, which keeps `needed`
    places from `start` on.
    """
    forward, backward, feedback = coefficients[:4], coefficients[4:8], coefficients[8:]
    planes, n, lines = layout[0, 0], layout[0, 1], layout[0, 2]
    sum_d = 1.0 + feedback[0] + feedback[1] + feedback[2] + feedback[3]
    still_n = (forward[0] + forward[1] + forward[2] + forward[3]) / sum_d
    still_m = (backward[0] + backward[1] + backward[2] + backward[3]) / sum_d
    x = np.zeros((n + 9, _LINES))
    y = np.zeros((n + 4, _LINES))
    w = np.zeros((n + 5, _LINES))
    flat_x, flat_y, flat_w = x.reshape(-1), y.reshape(-1), w.reshape(-1)
    line = np.uint64(_LINES)
    for plane in range(planes):
        for first in range(0, lines, _LINES):
            m = min(_LINES, lines - first)
            for i in range(n):
                at = np.uint64(plane * layout[1, 0] + i * layout[1, 1] + first * layout[1, 2])
                _read(x, i + 4, image, at, np.uint64(layout[1, 2]), np.uint64(m))
            for k in range(m):
                begin, end = x[4, k], x[n + 3, k]
                for i in range(4):
                    x[i, k] = begin
                    x[n + 4 + i, k] = end
                    y[i, k] = begin * still_n
                    w[n + i, k] = end * still_m
            many = np.uint64((m + _STEP - 1) // _STEP * _STEP)
            here = np.uint64(0)
            for _ in range(n):
                _forth(flat_x, flat_y, here, many, forward, feedback)
                here += line
            for _ in range(n):
                here -= line
                _back(flat_x, flat_w, here, many, backward, feedback)
            for i in range(needed):
                at = np.uint64(plane * layout[2, 0] + i * layout[2, 1] + first * layout[2, 2])
                _write(made, at, np.uint64(layout[2, 2]), y, w, start + i, np.uint64(m))


@compiled
def _read(x: Doubles, row: int, image: Singles, at: Index, stride: Index, n: Index) -> None:
    """Copy one place of some lines."""
    for k in range(n):
        x[row, k] = image[at + k * stride]


@compiled
def _write(
    made: Singles, at: Index, stride: Index, y: Doubles, w: Doubles, row: int, n: Index
) -> None:
    """Add the two parts of one place of some lines."""
    for k in range(n):
        made[at + k * stride] = y[row + 4, k] + w[row, k]


@compiled
def _forth(
    x: Doubles, y: Doubles, at: Index, lines: Index, forward: Doubles, feedback: Doubles
) -> None:
    """Find one place of the forward part.

    Indices are unsigned and strides are constants, so that the compiler makes vectors.
    """
    f0, f1, f2, f3 = forward[0], forward[1], forward[2], forward[3]
    d0, d1, d2, d3 = feedback[0], feedback[1], feedback[2], feedback[3]
    one, two, three = np.uint64(_LINES), np.uint64(2 * _LINES), np.uint64(3 * _LINES)
    here = at + np.uint64(4 * _LINES)
    for i in range(lines):
        k = here + i
        value = x[k] * f0 + x[k - one] * f1 + x[k - two] * f2 + x[k - three] * f3
        fed = y[k - one] * d0 + y[k - two] * d1 + y[k - three] * d2 + y[at + i] * d3
        y[k] = value - fed


@compiled
def _back(
    x: Doubles, w: Doubles, at: Index, lines: Index, backward: Doubles, feedback: Doubles
) -> None:
    """Find one place of the backward part."""
    b0, b1, b2, b3 = backward[0], backward[1], backward[2], backward[3]
    d0, d1, d2, d3 = feedback[0], feedback[1], feedback[2], feedback[3]
    one, two, three = np.uint64(_LINES), np.uint64(2 * _LINES), np.uint64(3 * _LINES)
    ahead, after = at + np.uint64(5 * _LINES), at + one
    for i in range(lines):
        k, j = ahead + i, after + i
        value = x[k] * b0 + x[k + one] * b1 + x[k + two] * b2 + x[k + three] * b3
        fed = w[j] * d0 + w[j + one] * d1 + w[j + two] * d2 + w[j + three] * d3
        w[at + i] = value - fed
