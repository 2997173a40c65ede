"""Sums without rounding: a number as digits to base 2^32, so that any order gives the same sum.

Columns of a table run from 1e-9 to 1e15 and no one fixed-point step suits them all. Cut into digits
(a superaccumulator, Kulisch 1971), each number adds up as integers: the federated mean and
deviation are then those of the pooled rows to the last bit, whatever the split into sites.
"""

from __future__ import annotations

import math

import numpy as np

from common.statistics.base import Float, Rows


def packed_size(p: int) -> int:
    """Numbers in the upper triangle of a (p, p) matrix, diagonal included."""
    return p * (p + 1) // 2


def pack(matrix: Float) -> Float:
    """Upper triangle of a symmetric (p, p) matrix, row by row."""
    return matrix[np.triu_indices(matrix.shape[0])]


def unpack(triangle: Float, p: int) -> Float:
    """Symmetric (p, p) matrix from its upper triangle; ValueError when the length does not fit."""
    if triangle.shape != (packed_size(p),):
        raise ValueError(f"{triangle.shape} numbers cannot be the triangle of a {p} x {p} matrix")
    matrix = np.zeros((p, p))
    matrix[np.triu_indices(p)] = triangle
    return matrix + np.triu(matrix, 1).T


def complete(rows: Rows) -> Float:
    """The values, checked to be finite.

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
    """ValueError unless the first axis of `parameter` has one entry a column."""
    if parameter.shape[0] != rows.p:
        raise ValueError(f"{what} is for {parameter.shape[0]} columns, the table has {rows.p}")


DIGITS = 8
_BITS, _LOWEST = 32, -112
_MASK = 2**_BITS - 1
_UNITS = 2.0 ** (_LOWEST + _BITS * np.arange(DIGITS))
LIMIT = float(_UNITS[-1]) * 2.0**_BITS  # 2^144, about 2e43


def exact_column_sums(values: Float) -> Float:
    """Digits (p, 8), whole numbers, lowest first, of the column sums of `values` (n, p).

    They follow from the sums alone: all numbers of rows with the same sum are the same.

    Exact down to 2^-112 (2e-34) for up to two million rows over all sites.

    Raises
    ------
    ValueError : a number that is not finite or beyond 2^144.
    """
    if not (np.abs(values) < LIMIT).all():
        raise ValueError("a number is not finite or too large to be summed")
    digits = np.empty((values.shape[1], DIGITS))
    rest = values
    for place in range(DIGITS - 1, -1, -1):
        # a power of two divides and multiplies without rounding, and so does taking off the whole
        digit = np.trunc(rest / _UNITS[place])
        digits[:, place] = digit.sum(axis=0)
        rest = rest - digit * _UNITS[place]
    return _carried(digits)


def _carried(digits: Float) -> Float:
    """The digits of the sums themselves: those of single rows would tell the largest among them."""
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
    """The numbers (p,) that digits (p, 8) stand for, rounded once."""
    return np.array([math.fsum(row) for row in digits * _UNITS], dtype=np.float64)
