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

FEWEST = 4
"""Voxels along an axis, for a recursion of fourth order to start."""

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
    # as much of the Gaussian as makes the response to a constant vanish
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


def laplacian(image: Singles, spacing: tuple[float, ...], sigma: float) -> Singles:
    """Return the scale-normalised Laplacian of Gaussian of a volume (z, y, x).

    Parameters
    ----------
    spacing : x, y, z in mm.
    sigma : mm.
    """
    total = np.zeros(image.shape, dtype=np.float32)
    for axis in range(3):
        made = _filtered(image, 2 - axis, second_derivative(sigma / spacing[axis], sigma**2))
        for other in range(3):
            if other != axis:
                made = _filtered(made, 2 - other, gaussian(sigma / spacing[other]))
        total = (total + made * (1.0 / np.float64(spacing[axis]) ** 2)).astype(np.float32)
    return total


def _filtered(image: Singles, axis: int, filter_: Recursion) -> Singles:
    """Filter along an axis."""
    made = np.empty_like(image)
    # planes that hold whole lines of the axis; the axis first
    planes = image.swapaxes(0, 1) if axis == 0 else image
    out = made.swapaxes(0, 1) if axis == 0 else made
    if axis == 2:
        planes, out = planes.swapaxes(1, 2), out.swapaxes(1, 2)
    _filter_planes(planes, out, filter_.forward, filter_.backward, filter_.feedback)
    return made


@compiled
def _filter_planes(
    planes: Singles, out: Singles, forward: Doubles, backward: Doubles, feedback: Doubles
) -> None:
    """Filter each plane (n, lines) along its first axis; values go on as at the borders."""
    n, lines = planes.shape[1:]
    sum_d = 1.0 + feedback[0] + feedback[1] + feedback[2] + feedback[3]
    still_n = (forward[0] + forward[1] + forward[2] + forward[3]) / sum_d
    still_m = (backward[0] + backward[1] + backward[2] + backward[3]) / sum_d
    f0, f1, f2, f3 = forward[0], forward[1], forward[2], forward[3]
    b0, b1, b2, b3 = backward[0], backward[1], backward[2], backward[3]
    d0, d1, d2, d3 = feedback[0], feedback[1], feedback[2], feedback[3]
    x = np.empty((n + 9, lines))
    y = np.empty((n + 4, lines))
    w = np.empty((n + 5, lines))
    for plane in range(len(planes)):
        for i in range(n):
            for k in range(lines):
                x[i + 4, k] = planes[plane, i, k]
        for i in range(4):
            for k in range(lines):
                x[i, k] = x[4, k]
                x[n + 4 + i, k] = x[n + 3, k]
                y[i, k] = x[4, k] * still_n
                w[n + i, k] = x[n + 3, k] * still_m
        for i in range(n):
            a0, a1, a2, a3 = x[i + 4], x[i + 3], x[i + 2], x[i + 1]
            p0, p1, p2, p3, q = y[i + 3], y[i + 2], y[i + 1], y[i], y[i + 4]
            for k in range(lines):
                value = a0[k] * f0 + a1[k] * f1 + a2[k] * f2 + a3[k] * f3
                q[k] = value - (p0[k] * d0 + p1[k] * d1 + p2[k] * d2 + p3[k] * d3)
        for i in range(n - 1, -1, -1):
            a0, a1, a2, a3 = x[i + 5], x[i + 6], x[i + 7], x[i + 8]
            p0, p1, p2, p3, q = w[i + 1], w[i + 2], w[i + 3], w[i + 4], w[i]
            for k in range(lines):
                value = a0[k] * b0 + a1[k] * b1 + a2[k] * b2 + a3[k] * b3
                q[k] = value - (p0[k] * d0 + p1[k] * d1 + p2[k] * d2 + p3[k] * d3)
        for i in range(n):
            for k in range(lines):
                out[plane, i, k] = y[i + 4, k] + w[i, k]
