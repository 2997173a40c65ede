"""Views name the input of a computation at a site: a base table, and fitted steps on top of it.

Views nest, so a whole model is a view with one column: the probability. The bundle is a set of
such views; the tables they start from exist only inside a site.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Rows
from common.transforms.base import Columns, Transform
from common.transforms.columns import Select

SLICES = "slices"
"""Base table of one column, the number of a patient's axial slices."""


class TableReader(Protocol):
    """Base tables of a site, row-aligned for one subset of its patients."""

    def read(self, name: str, subset: str) -> Rows:
        """Return rows of a base table for "train" or a test set; KeyError for an unknown table."""


@plain
class Table:
    """A base table of the site: `clinical`, `radiomics:r2`, `NETWORK/final/features` ..."""

    name: str


@plain
class Paired:
    """Two readings of the same patients; the second arrives as `Rows.paired`."""

    first: Table
    second: Table


@plain
class View:
    """Source and the steps over it."""

    source: Any
    transforms: tuple[Any, ...] = ()

    def then(self, *steps: Any) -> View:
        """Return this view with further steps."""
        return View(source=self.source, transforms=(*self.transforms, *steps))

    def outputs(self) -> Columns:
        """Return the final columns, as far as its steps name them; ValueError when they do not."""
        for step in reversed(self.transforms):
            names: Columns | None = step.outputs()
            if names is not None:
                return names
        if isinstance(self.source, Joined):
            return tuple(name for part in self.source.parts for name in part.outputs())
        if isinstance(self.source, ByFold):
            return self.source.parts[0].outputs()
        raise ValueError("the view does not say which columns it has")

    def restrict(self, wanted: Columns) -> View:
        """Return the view of fewer columns, with every step narrowed to what they need."""
        steps: list[Any] = []
        needed = wanted
        for step in reversed(self.transforms):
            small, needed = step.restrict(needed)
            steps.insert(0, small)
        if isinstance(self.source, Joined):
            return View(source=self.source.restrict(needed), transforms=tuple(steps)).ordered(
                needed
            )
        return View(source=self.source, transforms=(Select(columns=needed), *steps))

    def ordered(self, columns: Columns) -> View:
        """Return this view with its source's columns put in order before the steps."""
        return View(source=self.source, transforms=(Select(columns=columns), *self.transforms))


@plain
class Joined:
    """Columns of several views of the same rows, side by side."""

    parts: tuple[View, ...]

    def restrict(self, wanted: Columns) -> Joined:
        """Narrow every part to its own wanted columns; parts without any are left out."""
        kept: list[View] = []
        for part in self.parts:
            own = tuple(name for name in part.outputs() if name in wanted)
            if own:
                kept.append(part.restrict(own))
        return Joined(parts=tuple(kept))


@plain
class ByFold:
    """Out-of-fold: rows of fold k come from part k."""

    parts: tuple[View, ...]


def table(name: str) -> View:
    """Return the view of a bare base table."""
    return View(source=Table(name=name))


def base_tables(view: View) -> frozenset[str]:
    """Return names of the base tables a view starts from; ValueError for an unknown source."""
    source = view.source
    beside = frozenset().union(*(base_tables(one) for one in beside_views(view)))
    if isinstance(source, Table):
        return beside | {source.name}
    if isinstance(source, Paired):
        return beside | {source.first.name, source.second.name}
    if isinstance(source, Joined | ByFold):
        return beside.union(*(base_tables(part) for part in source.parts))
    raise ValueError("a view without a known source")


def beside_views(view: View) -> Iterator[View]:
    """Yield the views that steps of a view read beside it."""
    for step in view.transforms:
        if isinstance(step, Transform):
            yield from step.views()


def leaves_rows_out(view: View) -> bool:
    """Return whether any step of a view, or of a view within it, leaves rows out."""
    parts = view.source.parts if isinstance(view.source, Joined | ByFold) else ()
    parts = (*parts, *beside_views(view))
    own = any(_leaves_rows_out(step) for step in view.transforms)
    return own or any(leaves_rows_out(part) for part in parts)


def _leaves_rows_out(step: Any) -> bool:
    """Return whether a step leaves rows out, or one of its parts does."""
    inner = getattr(step, "steps", ())
    own = isinstance(step, Transform) and type(step).chooses_rows
    return own or any(_leaves_rows_out(part) for part in inner)


def materialise(view: View, tables: TableReader, subset: str) -> Rows:
    """Return the rows of a view at one site.

    Parameters
    ----------
    subset : "train" or the name of a test set.

    Raises
    ------
    KeyError : a base table the site does not have.
    ValueError : columns that do not fit the fitted steps.
    """
    rows = _source(view.source, tables, subset)
    for position, step in enumerate(view.transforms):
        before = View(source=view.source, transforms=view.transforms[:position])
        rows = step.apply_at_site(rows, AtSite(before, tables, subset))
    return rows


@dataclass(frozen=True)
class AtSite:
    """A hospital's tables as a step may read them, see `common.transforms.base.Surroundings`.

    A reader of tables says as `trains` that the hospital's patients train the study's models. One
    of tables that are not the hospital's own may say which are, as `fitted_on`, and what the
    hospital has kept of its batches, as `kept`.
    """

    before: View
    tables: TableReader
    subset: str

    @property
    def kept(self) -> Any:
        """Numbers that the reader has kept for the base table of the view; None without any."""
        kept: Mapping[str, Any] = getattr(self.tables, "kept", {})
        source = self.before.source
        return kept.get(source.name) if isinstance(source, Table) else None

    def rows(self, view: View) -> Rows:
        """Return the rows of another view of the same patients."""
        return materialise(view, self.tables, self.subset)

    def training_rows(self, view: View) -> Rows | None:
        """Return a view of the hospital's training patients; None where it has none."""
        tables: TableReader = getattr(self.tables, "fitted_on", self.tables)
        return materialise(view, tables, "train") if getattr(tables, "trains", False) else None


def _source(source: Any, tables: TableReader, subset: str) -> Rows:
    if isinstance(source, Table):
        return tables.read(source.name, subset)
    if isinstance(source, Paired):
        first = tables.read(source.first.name, subset)
        second = tables.read(source.second.name, subset)
        return _replace(first, paired=second.values)
    if isinstance(source, Joined):
        parts = [materialise(part, tables, subset) for part in source.parts]
        values = np.hstack([part.values for part in parts])
        columns = tuple(name for part in parts for name in part.columns)
        return _replace(parts[0], values=values, columns=columns)
    if isinstance(source, ByFold):
        parts = [materialise(part, tables, subset) for part in source.parts]
        first = parts[0]
        values = np.full_like(first.values, np.nan)
        for fold, part in enumerate(parts):
            values[first.fold == fold] = part.values[first.fold == fold]
        return _replace(first, values=values)
    raise ValueError("a view without a known source")


def _replace(rows: Rows, **changes: Any) -> Rows:
    return dataclasses.replace(rows, **changes)
