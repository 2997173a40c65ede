"""The base of every fitted step, what it declares to the disclosure rules, and shared helpers."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from common.statistics.base import Float, Rows

Columns = tuple[str, ...]


NOWHERE, ANYWHERE = 0.0, math.inf


class Surroundings(Protocol):
    """All that a step may read of the hospital that applies it."""

    @property
    def before(self) -> Any:
        """View that leads to the step."""

    @property
    def kept(self) -> Any:
        """Numbers of its own that the hospital has kept for this step; None without any."""

    def rows(self, view: Any) -> Rows:
        """Return the rows of another view of the same patients."""

    def training_rows(self, view: Any) -> Rows | None:
        """Return a view of the hospital's training patients; None where it has none."""


class Transform(ABC):
    """One fitted step; as it stands, one that keeps the columns and that no site accepts.

    The declarations belong to the class that a site has installed: no message carries them. What a
    class does not declare counts as the strictest.

    Attributes
    ----------
    place : among the steps of a view, which stand in increasing order, each place once.
    over : other views that it may stand on, "models" side by side or the models of the "folds".
    shape : of the distribution of a column: its "own", as the column had it ("kept"), that of
        several columns together ("mixed"), or one that all columns share ("common").
    probability : its output is a model's probability.
    chooses_rows : it leaves rows out; see `common.disclosure.sums.check_levels` first.
    """

    place: ClassVar[float] = NOWHERE
    over: ClassVar[tuple[str, ...]] = ()
    shape: ClassVar[str] = "own"
    probability: ClassVar[bool] = False
    chooses_rows: ClassVar[bool] = False

    @abstractmethod
    def apply(self, rows: Rows) -> Rows:
        """Return the rows after this step."""

    def apply_at_site(self, rows: Rows, site: Surroundings) -> Rows:
        """Return the rows after this step, which may depend on the hospital that applies it."""
        del site
        return self.apply(rows)

    def views(self) -> tuple[Any, ...]:
        """Return further views that the step reads, beside the one that it stands in."""
        return ()

    def outputs(self) -> Columns | None:
        """Return the output columns, None when they are those of the input."""
        return None

    def restrict(self, wanted: Columns) -> tuple[Any, Columns]:
        """Return this step for the `wanted` output columns, and the input columns it needs."""
        return self, wanted

    def stands(self) -> float:
        """Return its place in a view."""
        return type(self).place

    def bound(self, before: float) -> float:
        """Return the largest absolute value after this step, from the largest before."""
        del before
        return math.inf

    def fits(self, clip: float) -> bool:
        """Return whether its numbers can come from a study with this limit of z-scores."""
        del clip
        return True


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
