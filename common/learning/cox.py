"""Penalised Cox models within hospitals, many at once, one message per round.

Newton's method would take the Hessian of the partial likelihood in every round: covariances of
those at risk, weighted anew each time, of which the last periods hold few patients. No hospital
gives them. The curvature is met along the way instead (BFGS), from the covariance of all training
patients, times the events: the Hessian at weights 0 if those at risk were like all others. The
points asked about follow from the sums in portable arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.learning.descent import Mask, Problem, ProblemBatch
from common.learning.tridiagonal import Tridiagonal, tridiagonal
from common.statistics.cox import CoxGradient, CoxGradientResult
from common.statistics.gram import FoldGramResult


class CoxBatch(ProblemBatch):
    """Solver of many Cox models: send `request`, pass its outcome to `update`.

    Each minimises  |w|^2 / 2 + cost * negative log partial likelihood. Converged problems are not
    asked for again.

    Parameters
    ----------
    gram : sums per fold of the same view, the label saying who had the event.
    problems : models to fit.
    periods : of the study's grid.
    tolerance : largest distance of the weights to the minimum.

    Raises
    ------
    ValueError : a cost that is not positive, a mask of another length, no training rows or events.
    """

    def __init__(
        self,
        gram: FoldGramResult,
        problems: Sequence[Problem],
        periods: int,
        tolerance: float = 1e-6,
    ) -> None:
        def bound(excluded: tuple[int, ...], used: Mask) -> Tridiagonal:
            """Return half the expected Hessian."""
            training = gram.training(excluded)
            events = training.mean_y
            if events <= 0:
                raise ValueError("no events are left")
            return tridiagonal(0.5 * events * training.gram[np.ix_(used, used)])

        super().__init__(problems, gram.p, gram.folds, False, bound, tolerance)
        self._periods = periods

    def request(self) -> CoxGradient:
        """Return the next question, for the active problems; ValueError when there are none."""
        return CoxGradient(*self.asked(), periods=self._periods)

    def update(self, result: CoxGradientResult) -> None:
        """Take the outcome of the last request; ValueError when its size differs."""
        self.answered(
            result.gradient, result.loss, result.validation_loss, result.validation_events
        )
