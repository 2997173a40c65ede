"""Sums of one Newton step of Platt's calibration."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from common.plain import plain
from common.statistics.base import Float, Rows, Sums
from common.statistics.packing import complete


@plain
class PlattResult:
    """Loss, gradient (2,) and Hessian (2, 2) in (a, b)."""

    loss: float
    gradient: Float
    hessian: Float


@plain
class PlattSums:
    """Cross-entropy of 1 / (1 + exp(a f + b)) to Platt's smoothed targets, f the only column.

    Targets are (N+ + 1) / (N+ + 2) for positives and 1 / (N- + 2) for negatives (Platt 1999; the
    stable form of Lin, Lin and Weng 2007).

    Parameters
    ----------
    a, b : where to evaluate.
    positives, negatives : rows of each class over all sites.
    """

    a: float
    b: float
    positives: int
    negatives: int

    rule: ClassVar[str] = "gradient"
    step: ClassVar[dict[str, float]] = {
        "loss": 2.0**-36,
        "gradient": 2.0**-36,
        "hessian": 2.0**-36,
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Six numbers."""
        return {"loss": (1,), "gradient": (2,), "hessian": (3,)}

    def from_rows(self, rows: Rows) -> Sums:
        """Sums of the site; ValueError unless the table is one column without gaps."""
        if rows.p != 1:
            raise ValueError(f"one column of decision values is needed, not {rows.p}")
        f = complete(rows)[:, 0]
        high, low = (self.positives + 1.0) / (self.positives + 2.0), 1.0 / (self.negatives + 2.0)
        target = np.where(rows.label > 0.5, high, low)
        z = self.a * f + self.b
        probability = 0.5 * (1.0 - np.tanh(0.5 * z))
        residual, weight = target - probability, probability * (1.0 - probability)
        # t log(1 + e^z) + (1 - t) log(1 + e^-z), without overflow
        loss = np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z))) - (1.0 - target) * z
        return {
            "loss": np.array([loss.sum()]),
            "gradient": np.array([f @ residual, residual.sum()]),
            "hessian": np.array([(f * f) @ weight, f @ weight, weight.sum()]),
        }

    def finalise(self, sums: Sums) -> PlattResult:
        """Loss, gradient and Hessian over all sites."""
        aa, ab, bb = sums["hessian"]
        return PlattResult(
            loss=float(sums["loss"][0]),
            gradient=sums["gradient"],
            hessian=np.array([[aa, ab], [ab, bb]]),
        )
