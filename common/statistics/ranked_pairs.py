"""Pairs of patients ranked by a score: concordance and areas at a time, over spread test sets.

Pairs at one hospital are compared there, exactly; those of two hospitals on cells of the score.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from common.messages.limits import Limits, patients
from common.messages.plain import plain
from common.statistics.base import Float, Int, Rows, Sums
from common.statistics.exact import complete, matches
from common.statistics.follow_up import hospitals_of, periods_of
from common.statistics.histogram import cell_of

Chosen = NDArray[np.bool_]


@plain
class RankedPairsResult:
    """Patients of k models by cell of the score and period, and corrections of pairs.

    Parameters
    ----------
    events, censored : (k, cells, periods).
    order : (k, periods), twice the pairs in which the patient with the event in this period has
        the higher score, ties as a half: exact within hospitals, less the same on cells.
    areas : (k, horizons, periods), the same for pairs with a patient seen beyond a horizon.
    """

    events: Annotated[Float, patients("models", "cells", "periods")]
    censored: Annotated[Float, patients("models", "cells", "periods")]
    order: Annotated[Float, Limits(("models", "periods"))]
    areas: Annotated[Float, Limits(("models", "horizons", "periods"))]


@plain
class RankedPairs:
    """Patients by cell of the score and period, and what cells get wrong within a hospital.

    A pair can be compared where one patient had the event while the other was at risk, and the
    other did not have it in the same period (Harrell); for the area at a horizon, where one had
    it by then and the other was seen beyond.

    Parameters
    ----------
    edges : (k, cells + 1), not decreasing; end cells reach to infinity.
    periods : of the study's grid.
    horizons : int64 (h,), last period up to which events count for an area.

    References
    ----------
    Harrell, Lee and Mark 1996; Heagerty, Lumley and Pepe 2000.

    Examples
    --------
    >>> scores, label = np.array([[0.9], [0.7], [0.6]]), np.array([1.0, 1.0, 0.0])
    >>> ended = np.array([0, 1, 1])
    >>> rows = Rows(scores, ("risk",), label, np.zeros(3, int), period=ended)
    >>> pairs = RankedPairs(np.array([[0.0, 0.8, 1.0]]), periods=2, horizons=np.array([0]))
    >>> found = pairs.finalise(pairs.from_rows(rows))
    >>> found.order, found.events.sum(axis=1), found.censored.sum(axis=1)
    (array([[0., 1.]]), array([[1., 1.]]), array([[0., 1.]]))
    """

    edges: Float
    periods: int
    horizons: Int

    final: ClassVar[bool] = True
    kind: ClassVar[str] = "ranked_pairs"
    step: ClassVar[dict[str, float]] = {"counts": 0.5, "order": 0.5, "areas": 0.5}
    tally: ClassVar[dict[str, str]] = {"counts": "cells of classes"}
    about: ClassVar[str] = (
        "For each model, patients in each interval of the score and each period, with and without"
        " the event; and by how much intervals miscount the pairs of one hospital."
    )
    attack: ClassVar[str] = (
        "Many of these cells hold one patient of all hospitals: the coordinator sees within which"
        " limits the score and the time of somebody's event lie, without saying who or where. It"
        " sees them for a test set of three hospitals and more only, and they are not published."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "counts": ("models", "2", "cells * periods"),
        "order": ("models", "periods"),
        "areas": ("models", "horizons", "periods"),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare counts by model, censored or not, and cell and period; and corrections."""
        cells = self.edges.shape[1] - 1
        return {
            "counts": (p, 2, cells * self.periods),
            "order": (p, self.periods),
            "areas": (p, self.horizons.size, self.periods),
        }

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's sums; ValueError on missing scores, or a time beyond the grid."""
        matches(self.edges, rows, "edges")
        scores, period = complete(rows), periods_of(rows, self.periods)
        sums = {name: np.zeros(shape) for name, shape in self.shapes(rows.p).items()}
        happened, hospital = rows.label > 0.5, hospitals_of(rows)
        for column in range(rows.p):
            cell = cell_of(scores[:, column], self.edges[column])
            for place, chosen in enumerate((~happened, happened)):
                at = cell[chosen] * self.periods + period[chosen]
                size = sums["counts"].shape[2]
                sums["counts"][column, place] = np.bincount(at, minlength=size)
            for one in np.unique(hospital):
                own = hospital == one
                pairs = scores[own, column], cell[own], period[own], happened[own]
                self._correct(sums, column, *pairs)
        return sums

    def _correct(
        self, sums: Sums, column: int, scores: Float, cell: Int, period: Int, happened: Chosen
    ) -> None:
        """Add what the cells get wrong about one hospital's pairs."""
        for now in np.unique(period[happened]).tolist():
            cases = happened & (period == now)
            others = (period > now) | ((period == now) & ~happened)
            sums["order"][column, now] += _missed(scores, cell, cases, others)
            for place, horizon in enumerate(self.horizons.tolist()):
                if now <= horizon:
                    beyond = period > horizon
                    sums["areas"][column, place, now] += _missed(scores, cell, cases, beyond)

    def finalise(self, sums: Sums) -> RankedPairsResult:
        """Return the sums over all sites."""
        k, cells = self.edges.shape[0], self.edges.shape[1] - 1
        counts = sums["counts"].reshape(k, 2, cells, self.periods)
        return RankedPairsResult(counts[:, 1], counts[:, 0], sums["order"], sums["areas"])


def _missed(scores: Float, cell: Int, cases: Chosen, others: Chosen) -> float:
    """Return twice the pairs won by scores less those won by cells."""
    return _won(scores[cases], scores[others]) - _won(cell[cases], cell[others])


def _won(cases: Float | Int, others: Float | Int) -> float:
    """Return twice the pairs in which the case is higher, each tie as one."""
    ordered = np.sort(others)
    left = np.searchsorted(ordered, cases, side="left")
    right = np.searchsorted(ordered, cases, side="right")
    return float(left.sum() + right.sum())
