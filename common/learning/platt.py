"""Platt's calibration by Newton's method, one message a step."""

from __future__ import annotations

import numpy as np

from common.statistics.base import Float
from common.statistics.platt import PlattResult, PlattSums


class PlattFit:
    """Drives a and b of  p = 1 / (1 + exp(a f + b))  to their minimum: `request`, then `update`.

    Lin, Lin and Weng 2007, algorithm 1: Newton from a = 0, b = log((N- + 1) / (N+ + 1)), steps
    halved until the loss falls.

    Parameters
    ----------
    positives, negatives : rows of each class over all sites.
    tolerance : relative size of the last step.

    Raises
    ------
    ValueError : a class without rows.
    """

    def __init__(self, positives: int, negatives: int, tolerance: float = 1e-8) -> None:
        if positives < 1 or negatives < 1:
            raise ValueError("calibration needs rows of both classes")
        self._positives, self._negatives = positives, negatives
        self._tolerance = tolerance
        self._trial = np.array([0.0, np.log((negatives + 1.0) / (positives + 1.0))])
        self._best = self._trial
        self._loss = np.inf
        self._step: Float = np.zeros(2)
        self._slope = 0.0
        self.rounds = 0
        self.converged = False

    @property
    def a(self) -> float:
        """Slope; negative where larger decision values mean the positive class."""
        return float(self._best[0])

    @property
    def b(self) -> float:
        """Offset."""
        return float(self._best[1])

    def request(self) -> PlattSums:
        """The next question."""
        return PlattSums(
            a=float(self._trial[0]),
            b=float(self._trial[1]),
            positives=self._positives,
            negatives=self._negatives,
        )

    def update(self, result: PlattResult) -> None:
        """Take the outcome of the last request."""
        self.rounds += 1
        # near the minimum losses differ by fixed-point rounding only
        noise = 1e-10 * max(abs(result.loss), 1.0)
        if result.loss <= self._loss + 1e-4 * self._slope + noise:
            self._best, self._loss = self._trial, result.loss
            # a flat direction (all decision values alike) must not blow up the step
            ridge = 1e-12 * max(float(np.trace(result.hessian)), 1e-12) * np.eye(2)
            step = np.linalg.solve(result.hessian + ridge, result.gradient)
            self._step = -np.asarray(step, dtype=np.float64)
            self._slope = float(result.gradient @ self._step)
        else:
            self._step, self._slope = 0.5 * self._step, 0.5 * self._slope
        self._trial = self._best + self._step
        size = float(np.abs(self._best).max())
        if float(np.abs(self._step).max()) <= self._tolerance * (1.0 + size):
            self._best = self._trial
            self.converged = True
