"""Linear support vector machines, many at once, one message per round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from common.messages.plain import plain
from common.statistics.base import Float
from common.statistics.gram import FoldGramResult
from common.statistics.svm import SvmGradient, SvmGradientResult

_ARMIJO = 1e-4
_NOISE = 1e-9


class Descent:
    """Quasi-Newton descent for  |u|^2 / 2 + C h(u)  with  0 <= h'' <= 2 diag(spectrum).

    The bound is a majoriser: the step (I + 2 C diag(spectrum))^-1 g always lowers the value, so it
    follows when a bolder step has failed. Otherwise BFGS with all pairs kept (Nocedal and Wright
    2006, algorithm 7.4) starts from I + 2 C r diag(spectrum), r being the share of the curvature
    bound met along all steps.

    It has converged when the gradient's norm, which bounds the distance to the minimum as the
    objective is 1-strongly convex, or the next bold step after a successful one is no longer than
    `tolerance`; that last step is taken too.

    Parameters
    ----------
    spectrum : (d,), not negative: eigenvalues of the bound, `u` in its eigenvectors' coordinates.
    cost : C.
    tolerance : approximate distance of `best` to the minimum when `converged`.
    """

    def __init__(self, spectrum: Float, cost: float, tolerance: float) -> None:
        self._bound = 2.0 * cost * spectrum
        self._tolerance = tolerance
        self._share = 1.0
        self._met = self._bounded = 0.0
        self._pairs: list[tuple[Float, Float]] = []
        self._value = np.inf
        self._gradient = np.zeros_like(spectrum)
        self._cautious = False
        self.best = np.zeros_like(spectrum)
        self.trial = np.zeros_like(spectrum)
        self.converged = False

    def update(self, value: float, gradient: Float) -> bool:
        """Take value and gradient at `trial` and set the next; True when the trial is the best."""
        if not np.isfinite(self._value):
            accepted = True
        else:
            step = self.trial - self.best
            self._remember(step, gradient - self._gradient)
            slope = float(self._gradient @ step)
            lower = value <= self._value + _ARMIJO * slope
            # near the minimum values differ by fixed-point rounding only, gradients by more
            level = value <= self._value + _NOISE * max(abs(self._value), 1.0)
            accepted = lower or (level and self._size(gradient) < self._size(self._gradient))
        if accepted:
            self.best, self._value, self._gradient = self.trial, value, gradient
            self._cautious = False
            self.converged = _norm(gradient) <= self._tolerance
        direction = self._majorised() if self._cautious else self._quasi_newton()
        self._cautious = not accepted
        if self.converged:
            return accepted
        self.trial = self.best + direction
        if accepted and self._pairs and _norm(direction) <= self._tolerance:
            self.best, self.converged = self.trial, True
        return accepted

    @property
    def residual(self) -> float:
        """Bound on the distance of `best` to the minimum; infinite before the first outcome."""
        return _norm(self._gradient) if np.isfinite(self._value) else np.inf

    def _remember(self, step: Float, change: Float) -> None:
        if float(step @ change) <= 0.0:
            return
        self._pairs.append((step, change))
        self._met += float(step @ (change - step))
        self._bounded += float(step @ (self._bound * step))
        if self._bounded > 0:
            self._share = float(np.clip(self._met / self._bounded, 1e-3, 1.0))

    def _size(self, gradient: Float) -> float:
        return float(gradient @ (gradient / (1.0 + self._bound)))

    def _majorised(self) -> Float:
        return -self._gradient / (1.0 + self._bound)

    def _quasi_newton(self) -> Float:
        q = self._gradient.copy()
        weights: list[float] = []
        for step, change in reversed(self._pairs):
            weight = float(step @ q) / float(step @ change)
            q -= weight * change
            weights.append(weight)
        q /= 1.0 + self._share * self._bound
        for (step, change), weight in zip(self._pairs, reversed(weights), strict=True):
            q += (weight - float(change @ q) / float(step @ change)) * step
        return -q


def _norm(vector: Float) -> float:
    return float(np.linalg.norm(vector))


@plain
class SvmProblem:
    """Objective of one machine:  |w|^2 / 2 + cost * sum max(0, 1 - y w'x)^2.

    Parameters
    ----------
    cost : C of LinearSVC.
    excluded : folds left out of the fit.
    validation : fold on which the fit is judged; -1 for none.
    mask : bool (p,), columns the machine may use; None for all.
    """

    cost: float
    excluded: tuple[int, ...] = ()
    validation: int = -1
    mask: NDArray[np.bool_] | None = None


class SvmBatch:
    """Solver of many machines: send `request`, pass its outcome to `update`.

    The minimum is that of scikit-learn's LinearSVC(loss="squared_hinge", dual=False), intercept
    regularised. The Gram matrix of the training folds bounds the curvature, so no site has to send
    a Hessian. Converged problems are not asked for again.

    Parameters
    ----------
    gram : sums per fold of the same view.
    problems : machines to fit.
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
        """True when every problem is within the tolerance of its minimum."""
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
        """Return the next question, for the active problems; ValueError when there are none."""
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
        """Take the outcome of the last request; ValueError when its size differs."""
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
