"""Exact sums: numbers as digits to base 2^32, whose sum does not depend on the order.

Columns of a table run from 1e-9 to 1e15 and no one fixed-point step suits them all. Cut into digits
(a superaccumulator, Kulisch 1971), each number adds up as integers: the federated mean and
deviation then equal those of the pooled rows to the last bit, however rows are split into sites.
"""

from __future__ import annotations

import math

import numpy as np

from common.statistics.base import Float, Rows


def packed_size(p: int) -> int:
    """Return the size of the upper triangle of a (p, p) matrix, diagonal included."""
    return p * (p + 1) // 2


def pack(matrix: Float) -> Float:
    """Return the upper triangle of a symmetric (p, p) matrix, row by row."""
    return matrix[np.triu_indices(matrix.shape[0])]


def unpack(triangle: Float, p: int) -> Float:
    """Return the symmetric (p, p) matrix of an upper triangle; ValueError on a wrong length."""
    if triangle.shape != (packed_size(p),):
        raise ValueError(f"{triangle.shape} numbers cannot be the triangle of a {p} x {p} matrix")
    matrix = np.zeros((p, p))
    matrix[np.triu_indices(p)] = triangle
    return matrix + np.triu(matrix, 1).T


def complete(rows: Rows) -> Float:
    """Return the values, checked to be finite.

    Raises
    ------
    ValueError : a missing or infinite value, named by column.
    """
    finite = np.isfinite(rows.values).all(axis=0)
    if not finite.all():
        name = rows.columns[int(np.argmin(finite))]
        raise ValueError(f"column {name} has missing values; impute before this statistic")
    return rows.values


def matches(parameter: Float, rows: Rows, what: str) -> None:
    """Raise ValueError unless the first axis of `parameter` has one entry per column."""
    if parameter.shape[0] != rows.p:
        raise ValueError(f"{what} is for {parameter.shape[0]} columns, the table has {rows.p}")


DIGITS = 8
_BITS, _LOWEST = 32, -112
_MASK = 2**_BITS - 1
_UNITS = np.ldexp(1.0, _LOWEST + _BITS * np.arange(DIGITS))
LIMIT = float(_UNITS[-1]) * 2.0**_BITS  # 2^144, about 2e43


def exact_column_sums(values: Float) -> Float:
    """Return digits (p, 8), whole numbers, lowest first, of the column sums of `values` (n, p).

    They follow from the sums alone: rows with the same sum have the same digits. Exact down to
    2^-112 (2e-34) for up to two million rows over all sites.

    Raises
    ------
    ValueError : a number that is not finite or beyond 2^144.

    Examples
    --------
    >>> from_digits(exact_column_sums(np.array([[0.1], [1e15], [-1e15]])))
    array([0.1])
    """
    if not (np.abs(values) < LIMIT).all():
        raise ValueError("a number is not finite or too large to be summed")
    digits = np.empty((values.shape[1], DIGITS))
    rest = values
    for place in range(DIGITS - 1, -1, -1):
        # multiplying by a power of two does not round, nor does removing the whole part
        digit = np.trunc(rest / _UNITS[place])
        digits[:, place] = digit.sum(axis=0)
        rest = rest - digit * _UNITS[place]
    return _carried(digits)


def _carried(digits: Float) -> Float:
    """Return the digits of the sums: digits of single rows would reveal the largest among them."""
    carried = np.empty_like(digits)
    for column, own in enumerate(digits):
        total = sum(int(digit) << (_BITS * place) for place, digit in enumerate(own))
        sign, rest = (-1 if total < 0 else 1), abs(total)
        for place in range(DIGITS - 1):
            carried[column, place] = sign * (rest & _MASK)
            rest >>= _BITS
        carried[column, -1] = sign * rest
    return carried


def from_digits(digits: Float) -> Float:
    """Return the numbers (p,) that digits (p, 8) represent, rounded once."""
    return np.array([math.fsum(row) for row in digits * _UNITS], dtype=np.float64)
