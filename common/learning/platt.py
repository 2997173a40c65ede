"""Platt's calibration by Newton's method, one message per step."""

from __future__ import annotations

import numpy as np

from common.statistics.base import Float
from common.statistics.platt import PlattResult, PlattSums
from common.utils import portable

# slopes tried first, and steps tried together: numbers are cheap, messages are not
_SLOPES = -np.array([0.0, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0, 10.0, 20.0, 40.0])
_SHARES = np.array([1.0, 0.5, 0.25, 0.0625])


class PlattFit:
    """Solver of  p = 1 / (1 + exp(a f + b)): send `request`, pass its outcome to `update`.

    Lin, Lin and Weng 2007, algorithm 1: Newton's method from b = log((N- + 1) / (N+ + 1)), with
    shorter steps when the loss does not fall. The first message tries several slopes, and each
    further one the whole step and fractions of it, so that no step needs a second message.

    Parameters
    ----------
    positives, negatives : rows of each class over all sites.
    tolerance : relative size of the last step; as steps shrink quadratically, the error left is
        about its square.

    Raises
    ------
    ValueError : a class without rows.
    """

    def __init__(self, positives: int, negatives: int, tolerance: float = 1e-5) -> None:
        if positives < 1 or negatives < 1:
            raise ValueError("calibration needs rows of both classes")
        self._positives, self._negatives = positives, negatives
        self._tolerance = tolerance
        offset = prior_offset(positives, negatives)
        self._trials: Float = np.stack([_SLOPES, np.full(_SLOPES.size, offset)], axis=1)
        self._best: Float = self._trials[0]
        self._loss = np.inf
        self._step: Float = np.zeros(2)
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
        """Return the next question."""
        return PlattSums(
            a=self._trials[:, 0].copy(),
            b=self._trials[:, 1].copy(),
            positives=self._positives,
            negatives=self._negatives,
        )

    def update(self, result: PlattResult) -> None:
        """Take the outcome of the last request."""
        self.rounds += 1
        lowest = int(np.argmin(result.loss))
        # near the minimum losses differ by fixed-point rounding only: trust Newton's step
        whole = result.loss[0] <= result.loss[lowest] + 1e-9 * max(abs(self._loss), 1.0)
        chosen = 0 if whole and np.isfinite(self._loss) else lowest
        if result.loss[chosen] <= self._loss + 1e-9 * max(abs(self._loss), 1.0):
            self._best, self._loss = self._trials[chosen], float(result.loss[chosen])
            hessian = result.hessian[chosen]
            self._step = -_solved(hessian, result.gradient[chosen])
        else:
            self._step = self._step * _SHARES[-1]
        size = 1.0 + float(np.abs(self._best).max())
        if float(np.abs(self._step).max()) <= self._tolerance * size:
            self._best = self._best + self._step
            self.converged = True
        self._trials = self._best + _SHARES[:, None] * self._step


def prior_offset(positives: int, negatives: int) -> float:
    """Return the offset b of a sigmoid without slope: the prior of Lin, Lin and Weng 2007."""
    return float(portable.log(np.array((negatives + 1.0) / (positives + 1.0))))


def _solved(hessian: Float, gradient: Float) -> Float:
    """Return the Newton step (2,) for a curvature (2, 2), by elimination."""
    (aa, ab), (_, bb) = hessian.tolist()
    first, second = gradient.tolist()
    # a flat direction (all decision values equal) must not blow up the step
    ridge = 1e-12 * max(aa + bb, 1e-12)
    aa, bb = aa + ridge or ridge, bb + ridge
    ratio = ab / aa
    offset = (second - ratio * first) / (bb - ratio * ab or ridge)
    return np.array([(first - ab * offset) / aa, offset])
