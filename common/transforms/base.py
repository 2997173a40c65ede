"""Interface of a fitted step, and shared helpers."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from common.statistics.base import Float, Rows

Columns = tuple[str, ...]


@runtime_checkable
class Transform(Protocol):
    """One fitted step."""

    def apply(self, rows: Rows) -> Rows:
        """Return the rows after this step."""

    def outputs(self) -> Columns | None:
        """Return the output columns, None when they are those of the input."""

    def restrict(self, wanted: Columns) -> tuple[Any, Columns]:
        """Return this step for the `wanted` output columns, and the input columns it needs."""


def expect(rows: Rows, columns: Columns, step: str) -> None:
    """Raise ValueError unless the rows have exactly these columns."""
    if rows.columns != columns:
        missing = [name for name in columns if name not in rows.columns]
        detail = (
            f"missing {', '.join(missing[:5])}" if missing else "another order or extra columns"
        )
        raise ValueError(f"{step}: the columns are not those it was fitted on ({detail})")


def replace(rows: Rows, values: Float, columns: Columns, paired: Float | None = None) -> Rows:
    """Return the rows with other values and columns."""
    return dataclasses.replace(rows, values=values, columns=columns, paired=paired)


def positions(columns: Columns, wanted: Columns) -> NDArray[np.int64]:
    """Return the index of each wanted column; ValueError for an unknown one."""
    place = {name: i for i, name in enumerate(columns)}
    unknown = [name for name in wanted if name not in place]
    if unknown:
        raise ValueError(f"unknown column {unknown[0]!r}")
    return np.array([place[name] for name in wanted], dtype=np.int64)
