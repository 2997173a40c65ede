"""Contract of every additive statistic.

A statistic is a plain frozen class whose fields are its parameters. `from_rows` runs at a site and
returns a dictionary of float64 arrays. They leave as one vector of fixed-point integers, masked
unless the study says otherwise, in a `SumReply` (`client.handlers.answer_sums`); the server adds
these vectors (`server.federation.totals`) and calls `finalise` once.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

import common.statistics
from common.messages.plain import plain


def statistic_classes() -> dict[str, type[Any]]:
    """Return every class with `from_rows`, `finalise`, `shapes`, a kind and steps, by class name.

    Once imported, messages can name them: `common.messages.plain` builds nothing else.
    """
    found: dict[str, type[Any]] = {}
    for module_info in pkgutil.iter_modules(common.statistics.__path__):
        module = importlib.import_module(f"common.statistics.{module_info.name}")
        for name, value in vars(module).items():
            declared = isinstance(value, type) and hasattr(value, "from_rows")
            if declared and hasattr(value, "kind") and value.__module__ == module.__name__:
                found[name] = value
    return dict(sorted(found.items()))


Float = NDArray[np.float64]
Int = NDArray[np.int64]
Sums = dict[str, Float]
R = TypeVar("R", covariant=True)


@plain
class Rows:
    """Rows of a table at one site, the input of a statistic.

    Parameters
    ----------
    values : float64 (n, p); NaN marks a missing value.
    columns : the p column names.
    label : float64 (n,), 1.0 for the positive class.
    fold : int64 (n,), cross-validation fold of training rows; -1 elsewhere.
    paired : float64 (n, p), second reading of the same patients, None unless a view asks for it.
    origin : int64 (n,), hospital of each row where one site holds rows of several, as the pooled
        reference does; None otherwise.
    batch : int64 (n,), code of each row's hospital and scanner, where they are more than one; None
        otherwise. The same at every set of the site's patients.
    period : int64 (n,), period of the study's grid in which the follow-up of each row ended, from
        0; `label` says if it ended with the event. None where the endpoint has no time. Sites put
        times on the grid before anything is computed: no statistic sees a finer one.
    """

    values: Float
    columns: tuple[str, ...]
    label: Float
    fold: Int
    paired: Float | None = None
    origin: Int | None = None
    batch: Int | None = None
    period: Int | None = None

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.values.shape[0])

    @property
    def p(self) -> int:
        """Number of columns."""
        return int(self.values.shape[1])

    def at(self, places: Int) -> Rows:
        """Return some of the rows, by index."""
        return Rows(
            values=self.values[places],
            columns=self.columns,
            label=self.label[places],
            fold=self.fold[places],
            paired=None if self.paired is None else self.paired[places],
            origin=None if self.origin is None else self.origin[places],
            batch=None if self.batch is None else self.batch[places],
            period=None if self.period is None else self.period[places],
        )


class Statistic(Protocol, Generic[R]):
    """Interface of a statistic. `kind` decides its rules in `common.disclosure`.

    `step` gives, per part, the largest rounding that fixed-point encoding of that part may make.

    `tally` says of parts what the enrolment tells of them (`server.phases.plausible.TALLIES`), such
    as "rows by fold"; a total that does not agree stops the run.

    The privacy dossier shows the words: `about` explains the statistic to a reader who knows no
    statistics, `attack` says how it could be misused, `axes` names the axes of every part, such as
    "columns + 1". A statistic that is only asked of a set at one hospital says `alone = True`; one
    whose sum no later question of any study depends on, `final = True`.
    """

    kind: ClassVar[str]
    step: ClassVar[dict[str, float]]
    tally: ClassVar[dict[str, str]]
    about: ClassVar[str]
    attack: ClassVar[str]
    axes: ClassVar[dict[str, tuple[str, ...]]]

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of every part of the sum for a table of `p` columns."""

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's part of the sum; all zeros for zero rows."""

    def finalise(self, sums: Sums) -> R:
        """Return the result over all sites; a pure function that runs at the server."""


def zeros(shapes: dict[str, tuple[int, ...]]) -> Sums:
    """Return the sum over no rows."""
    return {name: np.zeros(shape, dtype=np.float64) for name, shape in shapes.items()}


def add(left: Sums, right: Sums) -> Sums:
    """Add two sites' parts."""
    if left.keys() != right.keys():
        raise ValueError("sums of different statistics cannot be added")
    return {name: left[name] + right[name] for name in left}


def flatten(sums: Sums, shapes: dict[str, tuple[int, ...]]) -> Float:
    """Return the parts as one vector, in the declared order.

    Raises
    ------
    ValueError : a part is missing, undeclared, of another shape or not finite.
    """
    if list(sums) != list(shapes):
        raise ValueError("the parts of the sum are not those the statistic declares")
    for name, shape in shapes.items():
        if sums[name].shape != shape:
            raise ValueError(f"part {name} has shape {sums[name].shape}, declared {shape}")
        if not np.isfinite(sums[name]).all():
            raise ValueError(f"part {name} is not finite")
    return np.concatenate([np.zeros(0), *(sums[name].ravel() for name in shapes)])


def describe(statistic: Any) -> str:
    """Return the name of a statistic on the wire, in the ledger and in the dossier."""
    return type(statistic).__name__
