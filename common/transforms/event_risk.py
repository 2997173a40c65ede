"""Risk of an event by a horizon, from the linear predictor of a Cox model."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Rows
from common.transforms.base import Transform, replace


@plain
class EventRisk(Transform):
    """Compute 1 - exp(-exp(f + b)): the risk of the event by a horizon at linear predictor f.

    Parameters
    ----------
    b : logarithm of the cumulative baseline hazard at the horizon.

    Examples
    --------
    >>> rows = Rows(np.array([[0.0]]), ("cox",), np.zeros(1), np.zeros(1, int))
    >>> EventRisk(b=float(np.log(np.log(2.0)))).apply(rows).values.round(6)
    array([[0.5]])
    """

    b: float

    place: ClassVar[float] = 8
    over: ClassVar[tuple[str, ...]] = ("models", "folds")
    probability: ClassVar[bool] = True

    def apply(self, rows: Rows) -> Rows:
        """Return risks."""
        hazard = np.exp(np.clip(rows.values + self.b, -700.0, 700.0))
        return replace(rows, -np.expm1(-hazard), rows.columns)
