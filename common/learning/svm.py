"""Linear support vector machines, many at once, one message a round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from common.learning.descent import Descent
from common.messages.plain import plain
from common.statistics.base import Float
from common.statistics.gram import FoldGramResult
from common.statistics.svm import SvmGradient, SvmGradientResult


@plain
class SvmProblem:
    """One machine to fit:  |w|^2 / 2 + cost * sum max(0, 1 - y w'x)^2.

    Parameters
    ----------
    cost : C of LinearSVC.
    excluded : folds that take no part in the fit.
    validation : fold on which the fit is judged; -1 for none.
    mask : bool (p,), columns the machine may use; None for all.
    """

    cost: float
    excluded: tuple[int, ...] = ()
    validation: int = -1
    mask: NDArray[np.bool_] | None = None


class SvmBatch:
    """Drives all problems to their minimum: ask for `request`, hand its outcome to `update`.

    The minimum is that of scikit-learn's LinearSVC(loss="squared_hinge", dual=False), intercept
    regularised. The Gram matrix of the training folds bounds the curvature, so no site has to send
    a Hessian. Problems that have converged are asked for no longer.

    Parameters
    ----------
    gram : sums per fold of the same view.
    problems : what to fit.
    tolerance : largest distance of the weights to the minimum.

    Raises
    ------
    ValueError : a cost that is not positive, a mask of another length, or no training rows.
    """

    def __init__(
        self, gram: FoldGramResult, problems: Sequence[SvmProblem], tolerance: float = 1e-6
    ) -> None:
        self._p, self._folds = gram.p, gram.folds
        self._problems = tuple(problems)
        self._bases: list[Float] = []
        self._descents: list[Descent] = []
        known: dict[tuple[tuple[int, ...], bytes], tuple[Float, Float]] = {}
        for problem in self._problems:
            if not problem.cost > 0:
                raise ValueError(f"cost {problem.cost} is not positive")
            columns = self._columns(problem)
            key = (tuple(sorted(problem.excluded)), columns.tobytes())
            if key not in known:
                bound = gram.augmented(problem.excluded)[np.ix_(columns, columns)]
                spectrum, basis = np.linalg.eigh(bound)
                full = np.zeros((columns.size, columns.sum()))
                full[columns] = basis
                known[key] = (np.maximum(spectrum, 0.0), full)
            spectrum, full = known[key]
            self._bases.append(full)
            self._descents.append(Descent(spectrum, problem.cost, tolerance))
        self.rounds = 0
        self.validation_loss = np.zeros(len(self._problems))
        self.validation_rows = np.zeros(len(self._problems))

    def _columns(self, problem: SvmProblem) -> NDArray[np.bool_]:
        if problem.mask is None:
            return np.ones(self._p + 1, dtype=np.bool_)
        if problem.mask.shape != (self._p,):
            raise ValueError(f"mask of {problem.mask.shape} for {self._p} columns")
        return np.append(problem.mask.astype(np.bool_), True)

    @property
    def active(self) -> list[int]:
        """Indices of the problems not yet converged, in the order of the request."""
        return [i for i, descent in enumerate(self._descents) if not descent.converged]

    @property
    def converged(self) -> bool:
        """Whether every problem is within the tolerance of its minimum."""
        return not self.active

    @property
    def weights(self) -> Float:
        """Best weights so far, (m, p + 1), the intercept last; 0 where masked."""
        best = [basis @ d.best for basis, d in zip(self._bases, self._descents, strict=True)]
        return np.array(best).reshape(len(best), self._p + 1)

    @property
    def residuals(self) -> Float:
        """Bound on the distance of each problem's weights to its minimum, (m,)."""
        return np.array([descent.residual for descent in self._descents])

    def request(self) -> SvmGradient:
        """The next question, for the problems still active; ValueError when there are none."""
        active = self.active
        if not active:
            raise ValueError("all problems have converged")
        excluded = np.zeros((len(active), self._folds))
        for row, index in enumerate(active):
            excluded[row, list(self._problems[index].excluded)] = 1.0
        return SvmGradient(
            weights=np.array([self._bases[i] @ self._descents[i].trial for i in active]),
            excluded=excluded,
            validation=np.array([self._problems[i].validation for i in active], dtype=np.int64),
        )

    def update(self, result: SvmGradientResult) -> None:
        """Take the outcome of the last request; ValueError when it is not of its size."""
        active = self.active
        if result.gradient.shape != (len(active), self._p + 1):
            raise ValueError("the outcome does not belong to the last request")
        for row, index in enumerate(active):
            descent, cost = self._descents[index], self._problems[index].cost
            trial = descent.trial
            value = 0.5 * float(trial @ trial) + cost * float(result.loss[row])
            gradient = trial + cost * (self._bases[index].T @ result.gradient[row])
            if descent.update(value, gradient):
                self.validation_loss[index] = result.validation_loss[row]
                self.validation_rows[index] = result.validation_rows[row]
        self.rounds += 1
