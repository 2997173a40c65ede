"""Follow-up on a grid of periods: events and censorings by period and group.

Times never leave a hospital. A study whose endpoint is a time declares a grid, and every hospital
puts its patients' times on it: period 0 ends at the grid's first time, period 1 at the second. A
patient whose follow-up ended in a period without the event was at risk in all of it, as usual
where a censoring and an event share a time. Curves and tests follow from counts by period, and
equal what the usual programs find on times rounded up to the ends of the periods.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from common.messages.limits import patients
from common.messages.plain import plain
from common.statistics.base import Float, Int, Rows, Sums
from common.statistics.exact import complete, matches


def periods_of(rows: Rows, periods: int) -> Int:
    """Return the period in which the follow-up of each row ended, (n,).

    Raises
    ------
    ValueError : the rows have no times, or one outside the grid.
    """
    if rows.period is None:
        raise ValueError("the endpoint of these rows has no time")
    if rows.n and not (rows.period.min() >= 0 and rows.period.max() < periods):
        raise ValueError(f"a follow-up outside the {periods} periods")
    return rows.period


def hospitals_of(rows: Rows) -> Int:
    """Return a number for the hospital of each row, (n,): risk sets never mix hospitals."""
    return np.zeros(rows.n, dtype=np.int64) if rows.origin is None else rows.origin


def at_risk(ended: Float) -> Float:
    """Return how many are at risk in each period, from how many end in it, along the last axis.

    >>> at_risk(np.array([1.0, 0.0, 3.0]))
    array([4., 3., 3.])
    """
    return np.asarray(np.flip(np.cumsum(np.flip(ended, axis=-1), axis=-1), axis=-1))


def group_of(values: Float, cuts: Float) -> Int:
    """Return the group of each value, (n,): 0 below the first cut, a value at a cut above it."""
    return np.searchsorted(cuts, values, side="right").astype(np.int64)


@plain
class LifeTableResult:
    """Events and censorings (k, groups, periods) of k columns."""

    events: Annotated[Float, patients("models", "groups", "periods")]
    censored: Annotated[Float, patients("models", "groups", "periods")]

    @property
    def at_risk(self) -> Float:
        """Patients at risk in each period, (k, groups, periods)."""
        return at_risk(self.events + self.censored)


@plain
class LifeTable:
    """Events and censorings of each period, for the groups that cuts make of every column.

    Parameters
    ----------
    cuts : (k, groups - 1), increasing; a value at a cut belongs to the group above.
    periods : of the study's grid.

    Examples
    --------
    >>> values, label = np.array([[0.1], [0.2], [0.7]]), np.array([1.0, 0.0, 1.0])
    >>> ended = np.array([0, 2, 1])
    >>> rows = Rows(values, ("risk",), label, np.zeros(3, int), period=ended)
    >>> table = LifeTable(cuts=np.array([[0.5]]), periods=3)
    >>> table.finalise(table.from_rows(rows)).at_risk.tolist()
    [[[2.0, 1.0, 1.0], [1.0, 1.0, 0.0]]]
    """

    cuts: Float
    periods: int

    final: ClassVar[bool] = True
    kind: ClassVar[str] = "follow_up"
    step: ClassVar[dict[str, float]] = {"counts": 0.5}
    tally: ClassVar[dict[str, str]] = {"counts": "cells of classes"}
    about: ClassVar[str] = (
        "For each group, how many patients were last seen in each period without the event, and"
        " how many had it then."
    )
    attack: ClassVar[str] = (
        "A period in which one patient of all hospitals had the event shows the coordinator that"
        " somebody had it then, without saying who or where. Periods are those of the study file,"
        " and are joined before anything is published."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"counts": ("columns", "2", "groups * periods")}

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare counts by column, censored or not, and group and period."""
        return {"counts": (p, 2, (self.cuts.shape[1] + 1) * self.periods)}

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's counts; ValueError on missing values, or a time beyond the grid."""
        matches(self.cuts, rows, "cuts")
        period, values = periods_of(rows, self.periods), complete(rows)
        counts = np.zeros(self.shapes(rows.p)["counts"])
        happened = rows.label > 0.5
        for column in range(rows.p):
            cell = group_of(values[:, column], self.cuts[column]) * self.periods + period
            for place, chosen in enumerate((~happened, happened)):
                counts[column, place] = np.bincount(cell[chosen], minlength=counts.shape[2])
        return {"counts": counts}

    def finalise(self, sums: Sums) -> LifeTableResult:
        """Return the counts over all sites."""
        counts = sums["counts"].reshape(self.cuts.shape[0], 2, -1, self.periods)
        return LifeTableResult(events=counts[:, 1], censored=counts[:, 0])
