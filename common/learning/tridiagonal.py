"""Symmetric matrices as tridiagonal ones, in arithmetic that is the same on every machine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from common.statistics.base import Float
from common.utils import portable


@dataclass(frozen=True)
class Tridiagonal:
    """Tridiagonal matrix T with `basis` T `basis`' = the matrix it was made of.

    Unlike eigenvectors, which take iterations, it needs a fixed number of operations, so that every
    machine finds the same bits; multiples of it plus the identity are as quickly inverted.

    Parameters
    ----------
    basis : (p, p), orthonormal.
    diagonal : (p,). beside : (p - 1,), the elements next to it.
    """

    basis: Float
    diagonal: Float
    beside: Float

    def times(self, vector: Float) -> Float:
        """Return T v for a vector (p,)."""
        found = self.diagonal * vector
        found[:-1] += self.beside * vector[1:]
        found[1:] += self.beside * vector[:-1]
        return found

    def solve(self, factor: float, vector: Float) -> Float:
        """Return (I + factor T)^-1 v, where neither the factor nor an eigenvalue of T is negative.

        By elimination without pivots, which such a matrix does not need.
        """
        diagonal = (1.0 + factor * self.diagonal).tolist()
        beside = (factor * self.beside).tolist()
        found = vector.tolist()
        for i, off in enumerate(beside):
            ratio = off / diagonal[i]
            diagonal[i + 1] -= ratio * off
            found[i + 1] -= ratio * found[i]
        found[-1] /= diagonal[-1]
        for i in range(len(beside) - 1, -1, -1):
            found[i] = (found[i] - beside[i] * found[i + 1]) / diagonal[i]
        return np.array(found)


def tridiagonal(matrix: Float) -> Tridiagonal:
    """Return the tridiagonal form of a symmetric matrix (p, p), p at least 1.

    References
    ----------
    Golub and Van Loan 2013, "Matrix computations", algorithm 8.3.1 (Householder).

    Examples
    --------
    >>> matrix = np.array([[2.0, 1.0, 0.0], [1.0, 2.0, 3.0], [0.0, 3.0, 1.0]])
    >>> tridiagonal(matrix).diagonal
    array([2., 2., 1.])
    """
    rest = np.array(matrix, dtype=np.float64)
    p = rest.shape[0]
    basis = np.eye(p)
    beside = np.zeros(max(p - 1, 0))
    for k in range(p - 1):
        column = rest[k + 1 :, k].copy()
        length = portable.norm(column)
        first = float(column[0])
        if length == 0.0 or not column[1:].any():
            beside[k] = first
            continue
        beside[k] = -math.copysign(length, first)
        column[0] = first - beside[k]
        scale = 2.0 / portable.dot(column, column)
        below = rest[k + 1 :, k + 1 :]
        moved = scale * portable.product(below, column)
        moved -= (0.5 * scale * portable.dot(moved, column)) * column
        change = column[:, None] * moved
        change += change.T.copy()
        below -= change
        turned = basis[:, k + 1 :]
        turned -= (scale * portable.product(turned, column))[:, None] * column
    return Tridiagonal(basis, np.diag(rest).copy(), beside)
