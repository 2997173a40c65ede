"""Decide whether two machines have found the same solution, whose last digits may differ.

Solvers from BLAS and LAPACK round as the processor does. A site that runs the study's program
itself takes the coordinator's solution in place of its own, if these functions say that it solves
the same problem: what a coordinator could change within these bounds moves no patient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float

# of the largest value
TOLERANCE = 1e-9
# of the largest eigenvalue, and of the length of an axis; LAPACK stays below a hundredth of it
AXES_TOLERANCE = 1e-11


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


def close(own: Float, theirs: Any) -> bool:
    """Accept numbers that differ by at most 1e-9 of the largest own one.

    >>> close(np.array([1.0, 0.0]), np.array([1.0, 9e-10]))
    True
    >>> close(np.array([1.0, 0.0]), np.array([1.0, 2e-9]))
    False
    """
    if not _alike(own, theirs):
        return False
    largest = float(np.abs(own).max(initial=0.0))
    return bool((np.abs(theirs - own) <= TOLERANCE * largest).all())


def same_axes(matrix: Float, own: Axes, theirs: Any) -> bool:
    """Accept axes that solve the same eigenvalue problem: equal eigenvalues, orthonormal, no rest.

    Signs are free, and so are rotations within equal eigenvalues.

    Parameters
    ----------
    matrix : (p, p), symmetric. own : of this matrix.

    >>> matrix = np.diag([1.0, 4.0])
    >>> own = axes_of(matrix)
    >>> same_axes(matrix, own, Axes(own.values, -own.vectors))
    True
    >>> same_axes(matrix, own, Axes(own.values, own.vectors[:, ::-1]))
    False
    """
    if not isinstance(theirs, Axes):
        return False
    if not (_alike(own.values, theirs.values) and _alike(own.vectors, theirs.vectors)):
        return False
    largest = float(np.abs(own.values).max(initial=0.0))
    rest = matrix @ theirs.vectors - theirs.vectors * own.values
    lengths = theirs.vectors.T @ theirs.vectors - np.eye(own.values.size)
    return bool(
        (np.abs(theirs.values - own.values) <= AXES_TOLERANCE * largest).all()
        and (np.abs(rest) <= AXES_TOLERANCE * largest).all()
        and (np.abs(lengths) <= AXES_TOLERANCE).all()
    )


def with_signs(vectors: Float) -> Float:
    """Return the same axes (p, k) with a positive largest loading each, the first of equal ones."""
    place = np.argmax(np.abs(vectors), axis=0)
    leading = vectors[place, np.arange(vectors.shape[1])]
    return vectors * np.where(leading < 0, -1.0, 1.0)


def _alike(own: Float, theirs: Any) -> bool:
    """Accept nothing but finite doubles of the same shape."""
    return (
        isinstance(theirs, np.ndarray)
        and theirs.dtype == np.float64
        and theirs.shape == own.shape
        and bool(np.isfinite(theirs).all())
    )
