"""Sums of one Newton step of Platt's calibration, at several points at once."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Rows, Sums
from common.statistics.exact import complete


@plain
class PlattResult:
    """Loss (k,), gradient (k, 2) and Hessian (k, 2, 2) in (a, b) at each of k points."""

    loss: Float
    gradient: Float
    hessian: Float


@plain
class PlattSums:
    """Cross-entropy of 1 / (1 + exp(a f + b)) to Platt's smoothed targets, f the only column.

    Targets are (N+ + 1) / (N+ + 2) for positives and 1 / (N- + 2) for negatives (Platt 1999; the
    stable form of Lin, Lin and Weng 2007).

    Parameters
    ----------
    a, b : (k,), the points to evaluate at.
    positives, negatives : rows of each class over all sites.

    Examples
    --------
    >>> rows = Rows(np.array([[-1.0], [1.0]]), ("svm",), np.array([0.0, 1.0]), np.zeros(2, int))
    >>> sums = PlattSums(a=np.zeros(1), b=np.zeros(1), positives=1, negatives=1)
    >>> sums.finalise(sums.from_rows(rows)).loss.round(4)
    array([1.3863])
    """

    a: Float
    b: Float
    positives: int
    negatives: int

    kind: ClassVar[str] = "platt"
    step: ClassVar[dict[str, float]] = {
        "loss": 2.0**-36,
        "gradient": 2.0**-36,
        "hessian": 2.0**-36,
    }
    tally: ClassVar[dict[str, str]] = {"loss": "not negative"}
    about: ClassVar[str] = (
        "Loss, gradient and curvature of the two numbers that turn a model's score into a"
        " probability."
    )
    attack: ClassVar[str] = (
        "Six numbers at each of a few points over all training patients. By asking at very many"
        " points one could sound out the distribution of scores; the coordinator's program stops"
        " after 50 rounds, but hospitals do not count them."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "loss": ("points",),
        "gradient": ("points", "2"),
        "hessian": ("points", "3"),
    }

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare six numbers per point."""
        k = self.a.size
        return {"loss": (k,), "gradient": (k, 2), "hessian": (k, 3)}

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's sums; ValueError unless the table is one column without gaps."""
        if rows.p != 1:
            raise ValueError(f"one column of decision values is needed, not {rows.p}")
        f = complete(rows)[:, 0]
        high, low = (self.positives + 1.0) / (self.positives + 2.0), 1.0 / (self.negatives + 2.0)
        target = np.where(rows.label > 0.5, high, low)
        z = np.outer(self.a, f) + self.b[:, None]
        probability = 0.5 * (1.0 - np.tanh(0.5 * z))
        residual, weight = target - probability, probability * (1.0 - probability)
        # t log(1 + e^z) + (1 - t) log(1 + e^-z), without overflow
        loss = np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z))) - (1.0 - target) * z
        return {
            "loss": loss.sum(axis=1),
            "gradient": np.stack([residual @ f, residual.sum(axis=1)], axis=1),
            "hessian": np.stack([weight @ (f * f), weight @ f, weight.sum(axis=1)], axis=1),
        }

    def finalise(self, sums: Sums) -> PlattResult:
        """Return loss, gradient and Hessian over all sites."""
        aa, ab, bb = sums["hessian"].T
        hessian = np.stack([np.stack([aa, ab], axis=1), np.stack([ab, bb], axis=1)], axis=1)
        return PlattResult(loss=sums["loss"], gradient=sums["gradient"], hessian=hessian)
