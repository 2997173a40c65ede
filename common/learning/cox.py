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
from numpy.typing import NDArray

from common.learning.svm import Descent
from common.learning.tridiagonal import Tridiagonal, tridiagonal
from common.messages.plain import plain
from common.statistics.base import Float
from common.statistics.cox import CoxGradient, CoxGradientResult
from common.statistics.gram import FoldGramResult
from common.utils import portable


@plain
class CoxProblem:
    """Objective of one model:  |w|^2 / 2 + cost * negative log partial likelihood.

    Parameters
    ----------
    cost : inverse of the ridge penalty.
    excluded : folds left out of the fit.
    validation : fold on which the fit is judged; -1 for none.
    mask : bool (p,), columns the model may use; None for all.
    """

    cost: float
    excluded: tuple[int, ...] = ()
    validation: int = -1
    mask: NDArray[np.bool_] | None = None


class CoxBatch:
    """Solver of many Cox models: send `request`, pass its outcome to `update`.

    Converged problems are not asked for again.

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
        problems: Sequence[CoxProblem],
        periods: int,
        tolerance: float = 1e-6,
    ) -> None:
        self._p, self._folds, self._periods = gram.p, gram.folds, periods
        self._problems = tuple(problems)
        self._bases: list[Float] = []
        self._descents: list[Descent] = []
        known: dict[tuple[tuple[int, ...], bytes], tuple[Tridiagonal, Float]] = {}
        for problem in self._problems:
            if not problem.cost > 0:
                raise ValueError(f"cost {problem.cost} is not positive")
            columns = self._columns(problem)
            key = (tuple(sorted(problem.excluded)), columns.tobytes())
            if key not in known:
                known[key] = self._curvature(gram, problem.excluded, columns)
            form, full = known[key]
            self._bases.append(full)
            self._descents.append(Descent(form, problem.cost, tolerance))
        self.rounds = 0
        self.validation_loss = np.zeros(len(self._problems))
        self.validation_events = np.zeros(len(self._problems))

    def _columns(self, problem: CoxProblem) -> NDArray[np.bool_]:
        if problem.mask is None:
            return np.ones(self._p, dtype=np.bool_)
        if problem.mask.shape != (self._p,):
            raise ValueError(f"mask of {problem.mask.shape} for {self._p} columns")
        return problem.mask.astype(np.bool_)

    def _curvature(
        self, gram: FoldGramResult, excluded: tuple[int, ...], columns: NDArray[np.bool_]
    ) -> tuple[Tridiagonal, Float]:
        """Return half the expected Hessian, and its basis in all columns."""
        training = gram.training(excluded)
        events = training.mean_y
        if events <= 0:
            raise ValueError("no events are left")
        form = tridiagonal(0.5 * events * training.gram[np.ix_(columns, columns)])
        full = np.zeros((self._p, int(columns.sum())))
        full[columns] = form.basis
        return form, full

    @property
    def active(self) -> list[int]:
        """Indices of the problems not yet converged, in the order of the request."""
        return [i for i, descent in enumerate(self._descents) if not descent.converged]

    @property
    def converged(self) -> bool:
        """True when every problem is within the tolerance of its minimum."""
        return not self.active

    @property
    def weights(self) -> Float:
        """Best weights so far, (m, p); 0 where masked."""
        pairs = zip(self._bases, self._descents, strict=True)
        best = [portable.product(basis, descent.best) for basis, descent in pairs]
        return np.array(best).reshape(len(best), self._p)

    def request(self) -> CoxGradient:
        """Return the next question, for the active problems; ValueError when there are none."""
        active = self.active
        if not active:
            raise ValueError("all problems have converged")
        excluded = np.zeros((len(active), self._folds))
        for row, index in enumerate(active):
            excluded[row, list(self._problems[index].excluded)] = 1.0
        return CoxGradient(
            weights=np.array(
                [portable.product(self._bases[i], self._descents[i].trial) for i in active]
            ),
            excluded=excluded,
            validation=np.array([self._problems[i].validation for i in active], dtype=np.int64),
            periods=self._periods,
        )

    def update(self, result: CoxGradientResult) -> None:
        """Take the outcome of the last request; ValueError when its size differs."""
        active = self.active
        if result.gradient.shape != (len(active), self._p):
            raise ValueError("the outcome does not belong to the last request")
        for row, index in enumerate(active):
            descent, cost = self._descents[index], self._problems[index].cost
            trial = descent.trial
            value = 0.5 * portable.dot(trial, trial) + cost * float(result.loss[row])
            pull = portable.product(self._bases[index].T, result.gradient[row])
            if descent.update(value, trial + cost * pull):
                self.validation_loss[index] = result.validation_loss[row]
                self.validation_events[index] = result.validation_events[row]
        self.rounds += 1
