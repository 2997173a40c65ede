"""Hazards behind the risks of several models, on one scale, for a model that joins them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Rows
from common.transforms.base import Columns, Transform, expect, positions, replace


@plain
class LogHazard(Transform):
    """Compute (log(-log(1 - p)) - mean) / scale of each risk p, limited to [-limit, limit].

    log(-log(1 - p)) is the logarithm of the cumulative hazard by the horizon: that in which Cox
    models are linear.

    Parameters
    ----------
    columns : the k models.
    mean, scale : (k,), of the training patients.

    Examples
    --------
    >>> rows = Rows(np.array([[0.5, 0.0]]), ("a", "b"), np.zeros(1), np.zeros(1, int))
    >>> step = LogHazard(("a", "b"), np.zeros(2), np.ones(2), limit=5.0)
    >>> step.apply(rows).values.round(4)
    array([[-0.3665, -5.    ]])
    """

    columns: Columns
    mean: Float
    scale: Float
    limit: float

    place: ClassVar[float] = 5
    over: ClassVar[tuple[str, ...]] = ("models",)

    def apply(self, rows: Rows) -> Rows:
        """Return standardised logarithms of hazards."""
        expect(rows, self.columns, "LogHazard")
        with np.errstate(divide="ignore"):
            hazard = np.log(-np.log1p(-np.clip(rows.values, 0.0, 1.0)))
        scaled = (hazard - self.mean) / self.scale
        return replace(rows, np.clip(scaled, -self.limit, self.limit), rows.columns)

    def outputs(self) -> Columns:
        """Return the models."""
        return self.columns

    def restrict(self, wanted: Columns) -> tuple[LogHazard, Columns]:
        """Keep fewer models."""
        at = positions(self.columns, wanted)
        return LogHazard(wanted, self.mean[at], self.scale[at], self.limit), wanted

    def bound(self, before: float) -> float:
        """Return the limit."""
        del before
        return self.limit

    def fits(self, clip: float) -> bool:
        """Accept no limit but the study's."""
        return self.limit == clip
