"""Log-rank test within hospitals, from sums of observed less expected events."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Rows, Sums
from common.statistics.follow_up import LifeTable, hospitals_of


@plain
class LogRankResult:
    """Observed less expected events (k, groups), and their covariance (k, groups, groups)."""

    difference: Float
    covariance: Float


@plain
class LogRank:
    """Observed less expected events of each group, within hospitals, and their covariance.

    The log-rank test stratified by hospital: expected events come from each hospital's own
    patients at risk, so that hospitals whose patients fare differently are not confounded with
    the groups. The hypergeometric covariance is that of Mantel.

    Parameters
    ----------
    cuts : (k, groups - 1), as for `LifeTable`.
    periods : of the study's grid.

    References
    ----------
    Mantel 1966; Kalbfleisch and Prentice 2002, "The statistical analysis of failure time data",
    section 1.4.

    Examples
    --------
    >>> values, label = np.array([[0.1], [0.2], [0.7]]), np.array([1.0, 0.0, 1.0])
    >>> ended = np.array([0, 2, 1])
    >>> rows = Rows(values, ("risk",), label, np.zeros(3, int), period=ended)
    >>> test = LogRank(cuts=np.array([[0.5]]), periods=3)
    >>> test.finalise(test.from_rows(rows)).difference.round(4)
    array([[-0.1667,  0.1667]])
    """

    cuts: Float
    periods: int

    final: ClassVar[bool] = True
    kind: ClassVar[str] = "follow_up"
    step: ClassVar[dict[str, float]] = {"difference": 2.0**-36, "covariance": 2.0**-36}
    tally: ClassVar[dict[str, str]] = {}
    about: ClassVar[str] = (
        "For each group, events less those expected if groups did not differ within a hospital,"
        " and the covariance of these differences."
    )
    attack: ClassVar[str] = (
        "A few numbers a model over all patients of a set. Those of one hospital alone would tell"
        " in which order its few patients had the event; the mask hides them."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "difference": ("columns", "groups"),
        "covariance": ("columns", "groups", "groups"),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare a vector and a matrix by column."""
        groups = self.cuts.shape[1] + 1
        return {"difference": (p, groups), "covariance": (p, groups, groups)}

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's sums; ValueError on missing values, or a time beyond the grid."""
        shapes = self.shapes(rows.p)
        table = LifeTable(cuts=self.cuts, periods=self.periods)
        sums = {name: np.zeros(shape) for name, shape in shapes.items()}
        hospital = hospitals_of(rows)
        for one in np.unique(hospital):
            found = table.finalise(table.from_rows(rows.at(np.flatnonzero(hospital == one))))
            difference, covariance = observed_less_expected(found.events, found.at_risk)
            sums["difference"] += difference
            sums["covariance"] += covariance
        return sums

    def finalise(self, sums: Sums) -> LogRankResult:
        """Return the sums over all sites."""
        return LogRankResult(**sums)


def observed_less_expected(events: Float, exposed: Float) -> tuple[Float, Float]:
    """Return observed less expected events (k, groups) and their covariance (k, groups, groups).

    Parameters
    ----------
    events, exposed : (k, groups, periods), events and patients at risk.
    """
    died, everyone = events.sum(axis=1), exposed.sum(axis=1)
    some = np.maximum(everyone, 1.0)
    share = exposed / some[:, None, :]
    difference = (events - died[:, None, :] * share).sum(axis=2)
    # a period in which one patient is left varies in nothing
    weight = died * np.maximum(everyone - died, 0.0) / np.maximum(everyone - 1.0, 1.0)
    spread = np.einsum("kgt,kt->kgt", share, weight)
    covariance = -np.einsum("kgt,kht->kgh", spread, share)
    groups = np.arange(events.shape[1])
    covariance[:, groups, groups] += spread.sum(axis=2)
    return difference, covariance
