"""Sums over those at risk in each period: the baseline hazard of Cox models."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Int, Rows, Sums
from common.statistics.exact import complete
from common.statistics.follow_up import at_risk, periods_of


@plain
class RiskSumsResult:
    """Events (periods,), and the weights (k, g) of those at risk at the start of g periods."""

    events: Float
    weights: Float
    starts: Int

    def cumulative_hazard(self) -> Float:
        """Return Breslow's cumulative baseline hazard (k, periods) up to the last start.

        Between two starts weights lie on a straight line.
        """
        at = np.arange(int(self.starts[-1]))
        weights = np.array([np.interp(at, self.starts, own) for own in self.weights])
        some = np.where(weights > 0, weights, 1.0)
        return np.asarray(np.cumsum(self.events[at] / some, axis=1))


@plain
class RiskSums:
    """Events in each period, and the sum of exp(value) over those at risk at the start of some.

    The values are the linear predictors of Cox models; their baseline hazard, one for all
    hospitals, follows by Breslow's formula. The difference of two neighbouring sums is that of the
    patients whose follow-up ended in between: `risk_starts` leaves several of them there.

    Parameters
    ----------
    periods : of the study's grid.
    starts : (g,), increasing, periods at whose start weights are given.

    Examples
    --------
    >>> values, label = np.array([[0.0], [0.0], [0.0]]), np.array([1.0, 1.0, 0.0])
    >>> ended = np.array([0, 1, 1])
    >>> rows = Rows(values, ("risk",), label, np.zeros(3, int), period=ended)
    >>> sums = RiskSums(periods=3, starts=np.array([0, 1, 2]))
    >>> sums.finalise(sums.from_rows(rows)).cumulative_hazard().round(4)
    array([[0.3333, 0.8333]])
    """

    periods: int
    starts: Int

    final: ClassVar[bool] = True
    kind: ClassVar[str] = "follow_up"
    step: ClassVar[dict[str, float]] = {"events": 0.5, "weights": 2.0**-32}
    tally: ClassVar[dict[str, str]] = {"events": "cells of positives", "weights": "not negative"}
    about: ClassVar[str] = (
        "How many patients had the event in each period, and how much risk a model gives to all"
        " who could have had it at the start of some periods, up to the first horizon."
    )
    attack: ClassVar[str] = (
        "The difference of two neighbours is the risk of those whose follow-up ended in between,"
        " on average ten patients of all hospitals or more. Where it was one, the coordinator sees"
        " that patient's risk, without saying who or where."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "events": ("periods",),
        "weights": ("columns", "starts"),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare a vector over periods, and a matrix, columns by starts."""
        return {"events": (self.periods,), "weights": (p, self.starts.size)}

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's sums; ValueError on missing values, or a time beyond the grid."""
        period, values = periods_of(rows, self.periods), complete(rows)
        ended = np.zeros((self.periods, rows.p))
        np.add.at(ended, period, np.exp(values))
        events = np.bincount(period[rows.label > 0.5], minlength=self.periods)
        weights = at_risk(ended.T)[:, self.starts]
        return {"events": events.astype(np.float64), "weights": weights}

    def finalise(self, sums: Sums) -> RiskSumsResult:
        """Return the sums over all sites."""
        return RiskSumsResult(**sums, starts=self.starts)


PATIENTS_BETWEEN = 10
"""Patients of all hospitals whose follow-up ends between two starts, on average."""


def risk_starts(periods: int, last: int, patients: float) -> Int:
    """Return the starts up to the period after `last`, for so many patients of all hospitals.

    Examples
    --------
    >>> risk_starts(periods=12, last=3, patients=400), risk_starts(60, 11, patients=120)
    (array([0, 1, 2, 3, 4]), array([ 0,  5, 10, 12]))
    """
    apart = max(int(np.ceil(periods * PATIENTS_BETWEEN / max(patients, 1.0))), 1)
    return np.append(np.arange(0, last + 1, apart), last + 1)
