"""Symmetric matrices as their upper triangle, and the check that a table has no gaps."""

from __future__ import annotations

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
