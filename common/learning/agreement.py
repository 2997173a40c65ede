"""Measure how far two machines' solutions of the same problem are apart in their last digits.

Solvers from BLAS and LAPACK round as the processor does. A site that runs the study's program
itself takes the coordinator's solution in place of its own, if it solves the same problem: what a
coordinator could change within these bounds moves no patient. Each function returns a share of
what is allowed: 0 = equal, up to 1 = it may stand in, above = it may not.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float

# of the largest value
TOLERANCE = 1e-9
# of the largest eigenvalue, and of the length of an axis; LAPACK stays below a hundredth of it
AXES_TOLERANCE = 1e-11
ANOTHER = math.inf
"""Share of a value that is no solution of the problem."""


@plain
class Axes:
    """Eigenvalues (k,), increasing, and orthonormal eigenvectors (p, k) of a symmetric matrix."""

    values: Float
    vectors: Float


def axes_of(matrix: Float, largest: int = 0) -> Axes:
    """Return the eigenvectors of a symmetric matrix (p, p).

    Parameters
    ----------
    largest : how many, those of the largest eigenvalues; 0 = all.
    """
    from scipy import linalg

    p = matrix.shape[0]
    subset = (p - largest, p - 1) if 0 < largest < p else None
    values, vectors = linalg.eigh(matrix, subset_by_index=subset)
    return Axes(
        values=np.asarray(values, dtype=np.float64),
        vectors=np.ascontiguousarray(vectors, dtype=np.float64),
    )


def apart(own: Float, theirs: Any) -> float:
    """Compare numbers, which may differ by 1e-9 of the largest own one.

    >>> apart(np.array([1.0, 0.0]), np.array([1.0, 5e-10]))
    0.5
    >>> apart(np.array([1.0, 0.0]), np.array([1.0, 2e-9])) > 1
    True
    """
    if not _alike(own, theirs):
        return ANOTHER
    return _share(theirs - own, TOLERANCE * _largest(own))


def axes_apart(matrix: Float, own: Axes, theirs: Any) -> float:
    """Compare axes by what makes them a solution: equal eigenvalues, orthonormal, no rest.

    Signs are free, and so are rotations within equal eigenvalues.

    Parameters
    ----------
    matrix : (p, p), symmetric. own : of this matrix.

    >>> matrix = np.diag([1.0, 4.0])
    >>> own = axes_of(matrix)
    >>> axes_apart(matrix, own, Axes(own.values, -own.vectors))
    0.0
    >>> axes_apart(matrix, own, Axes(own.values, own.vectors[:, ::-1])) > 1
    True
    """
    if not isinstance(theirs, Axes):
        return ANOTHER
    if not (_alike(own.values, theirs.values) and _alike(own.vectors, theirs.vectors)):
        return ANOTHER
    allowed = AXES_TOLERANCE * _largest(own.values)
    rest = matrix @ theirs.vectors - theirs.vectors * own.values
    lengths = theirs.vectors.T @ theirs.vectors - np.eye(own.values.size)
    return max(
        _share(theirs.values - own.values, allowed),
        _share(rest, allowed),
        _share(lengths, AXES_TOLERANCE),
    )


def with_signs(vectors: Float) -> Float:
    """Return the same axes (p, k) with a positive largest loading each, the first of equal ones."""
    place = np.argmax(np.abs(vectors), axis=0)
    leading = vectors[place, np.arange(vectors.shape[1])]
    return vectors * np.where(leading < 0, -1.0, 1.0)


def _largest(values: Float) -> float:
    return float(np.abs(values).max(initial=0.0))


def _share(difference: Float, allowed: float) -> float:
    """Return the largest difference as a share of what is allowed, which may be nothing."""
    largest = _largest(difference)
    if largest == 0.0:
        return 0.0
    # a value so large that products of it overflow differs by NaN
    possible = math.isfinite(largest) and allowed > 0.0
    return largest / allowed if possible else ANOTHER


def _alike(own: Float, theirs: Any) -> bool:
    """Accept nothing but finite doubles of the same shape."""
    return (
        isinstance(theirs, np.ndarray)
        and theirs.dtype == np.float64
        and theirs.shape == own.shape
        and bool(np.isfinite(theirs).all())
    )
