"""Sums over those at risk in each period: the baseline hazard of Cox models."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Rows, Sums
from common.statistics.exact import complete
from common.statistics.follow_up import at_risk, periods_of


@plain
class RiskSumsResult:
    """Events (periods,) and the weights of those at risk, by model and period (k, periods)."""

    events: Float
    weights: Float

    def cumulative_hazard(self) -> Float:
        """Return Breslow's cumulative baseline hazard at the end of each period, (k, periods)."""
        some = np.where(self.weights > 0, self.weights, 1.0)
        return np.asarray(np.cumsum(self.events / some, axis=1))


@plain
class RiskSums:
    """Events, and the sum of exp(value) over those at risk, in each period.

    The values are the linear predictors of Cox models; their baseline hazard, one for all
    hospitals, follows by Breslow's formula.

    Parameters
    ----------
    periods : of the study's grid.

    Examples
    --------
    >>> values, label = np.array([[0.0], [0.0], [0.0]]), np.array([1.0, 1.0, 0.0])
    >>> ended = np.array([0, 1, 1])
    >>> rows = Rows(values, ("risk",), label, np.zeros(3, int), period=ended)
    >>> sums = RiskSums(periods=2)
    >>> sums.finalise(sums.from_rows(rows)).cumulative_hazard().round(4)
    array([[0.3333, 0.8333]])
    """

    periods: int

    final: ClassVar[bool] = True
    kind: ClassVar[str] = "follow_up"
    step: ClassVar[dict[str, float]] = {"events": 0.5, "weights": 2.0**-32}
    tally: ClassVar[dict[str, str]] = {"events": "cells of positives", "weights": "not negative"}
    about: ClassVar[str] = (
        "How many patients had the event in each period, and how much risk a model gives to all"
        " who could have had it."
    )
    attack: ClassVar[str] = (
        "A last period in which one patient of all hospitals is at risk shows that patient's risk"
        " to the coordinator, without saying who or where."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "events": ("periods",),
        "weights": ("columns", "periods"),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare a vector over periods, and a matrix, columns by periods."""
        return {"events": (self.periods,), "weights": (p, self.periods)}

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's sums; ValueError on missing values, or a time beyond the grid."""
        period, values = periods_of(rows, self.periods), complete(rows)
        ended = np.zeros((self.periods, rows.p))
        np.add.at(ended, period, np.exp(values))
        events = np.bincount(period[rows.label > 0.5], minlength=self.periods)
        return {"events": events.astype(np.float64), "weights": at_risk(ended.T)}

    def finalise(self, sums: Sums) -> RiskSumsResult:
        """Return the sums over all sites."""
        return RiskSumsResult(**sums)
