"""Quasi-Newton descent of penalised linear models, many at once, one message per round.

The points asked about follow from the sums in portable arithmetic: a site that runs the same
program asks about the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.learning.tridiagonal import Tridiagonal
from common.statistics.base import Float, Int
from common.utils import portable

Mask = NDArray[np.bool_]

_ARMIJO = 1e-4
_NOISE = 1e-9


class Descent:
    """Quasi-Newton descent for  |u|^2 / 2 + C h(u)  with  0 <= h'' <= 2 T, T tridiagonal.

    Where the bound is a majoriser the step (I + 2 C T)^-1 g always lowers the value, so it follows
    when a bolder step has failed; where it is an estimate alone, and that step fails too, four
    times the bound takes its place. Otherwise BFGS with all pairs kept (Nocedal and Wright 2006,
    algorithm 7.4) starts from I + 2 C r T, r being the share of the curvature bound met along all
    steps.

    It has converged when the gradient's norm, which bounds the distance to the minimum as the
    objective is 1-strongly convex, or the next bold step after a successful one is no longer than
    `tolerance`; that last step is taken too.

    Parameters
    ----------
    bound : T, without negative eigenvalues; `u` (d,) is in the coordinates of its basis.
    cost : C.
    tolerance : approximate distance of `best` to the minimum when `converged`.
    """

    def __init__(self, bound: Tridiagonal, cost: float, tolerance: float) -> None:
        self._bound, self._factor = bound, 2.0 * cost
        self._tolerance = tolerance
        self._share = 1.0
        self._met = self._bounded = 0.0
        self._pairs: list[tuple[Float, Float, float]] = []
        self._value = np.inf
        self._gradient = np.zeros_like(bound.diagonal)
        self._cautious = self._bounded_step = False
        self._lift = 1.0
        self.best = np.zeros_like(bound.diagonal)
        self.trial = np.zeros_like(bound.diagonal)
        self.converged = False

    def update(self, value: float, gradient: Float) -> bool:
        """Take value and gradient at `trial` and set the next; True when the trial is the best."""
        if not np.isfinite(self._value):
            accepted = True
        else:
            step = self.trial - self.best
            self._remember(step, gradient - self._gradient)
            slope = portable.dot(self._gradient, step)
            lower = value <= self._value + _ARMIJO * slope
            # near the minimum values differ by fixed-point rounding only, gradients by more
            level = value <= self._value + _NOISE * max(abs(self._value), 1.0)
            accepted = lower or (level and self._size(gradient) < self._size(self._gradient))
        if accepted:
            self.best, self._value, self._gradient = self.trial, value, gradient
            self._cautious = False
            self.converged = portable.norm(gradient) <= self._tolerance
        if self._bounded_step and not accepted:
            self._lift *= 4.0
        self._bounded_step = self._cautious
        direction = self._majorised() if self._cautious else self._quasi_newton()
        self._cautious = not accepted
        if self.converged:
            return accepted
        self.trial = self.best + direction
        if accepted and self._pairs and portable.norm(direction) <= self._tolerance:
            self.best, self.converged = self.trial, True
        return accepted

    @property
    def residual(self) -> float:
        """Bound on the distance of `best` to the minimum; infinite before the first outcome."""
        return portable.norm(self._gradient) if np.isfinite(self._value) else np.inf

    def _remember(self, step: Float, change: Float) -> None:
        curvature = portable.dot(step, change)
        if curvature <= 0.0:
            return
        self._pairs.append((step, change, curvature))
        self._met += portable.dot(step, change - step)
        self._bounded += self._factor * portable.dot(step, self._bound.times(step))
        if self._bounded > 0:
            self._share = min(max(self._met / self._bounded, 1e-3), 1.0)

    def _size(self, gradient: Float) -> float:
        return portable.dot(gradient, self._bound.solve(self._factor, gradient))

    def _majorised(self) -> Float:
        return -self._bound.solve(self._lift * self._factor, self._gradient)

    def _quasi_newton(self) -> Float:
        q = self._gradient.copy()
        weights: list[float] = []
        for step, change, curvature in reversed(self._pairs):
            weight = portable.dot(step, q) / curvature
            q -= weight * change
            weights.append(weight)
        q = self._bound.solve(self._share * self._factor, q)
        for (step, change, curvature), weight in zip(self._pairs, reversed(weights), strict=True):
            q += (weight - portable.dot(change, q) / curvature) * step
        return -q


@dataclass(frozen=True)
class Problem:
    """One model:  |w|^2 / 2 + cost * loss.

    Parameters
    ----------
    cost : inverse of the ridge penalty; C of LinearSVC.
    excluded : folds left out of the fit.
    validation : fold on which the fit is judged; -1 for none.
    mask : bool (p,), columns the model may use; None for all.
    """

    cost: float
    excluded: tuple[int, ...] = ()
    validation: int = -1
    mask: Mask | None = None


class ProblemBatch:
    """Many problems on the same columns, of which those that have not converged share each round.

    Parameters
    ----------
    problems : models to fit.
    columns : of the view. folds : of the study.
    intercept : whether a last column of ones is fitted too, which no mask leaves out.
    bound : returns T of `Descent` for the folds left out and a mask of the columns, the intercept
        among them.
    tolerance : largest distance of the weights to the minimum.

    Raises
    ------
    ValueError : a cost that is not positive, or a mask of another length.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        columns: int,
        folds: int,
        intercept: bool,
        bound: Callable[[tuple[int, ...], Mask], Tridiagonal],
        tolerance: float,
    ) -> None:
        self._p, self._folds, self._width = columns, folds, columns + intercept
        self._problems = tuple(problems)
        self._bases: list[Float] = []
        self._descents: list[Descent] = []
        known: dict[tuple[tuple[int, ...], bytes], tuple[Tridiagonal, Float]] = {}
        for problem in self._problems:
            if not problem.cost > 0:
                raise ValueError(f"cost {problem.cost} is not positive")
            used = self._used(problem)
            key = (tuple(sorted(problem.excluded)), used.tobytes())
            if key not in known:
                form = bound(problem.excluded, used)
                full = np.zeros((used.size, int(used.sum())))
                full[used] = form.basis
                known[key] = (form, full)
            form, full = known[key]
            self._bases.append(full)
            self._descents.append(Descent(form, problem.cost, tolerance))
        self.rounds = 0
        self.validation_loss = np.zeros(len(self._problems))
        self.validation_count = np.zeros(len(self._problems))

    def _used(self, problem: Problem) -> Mask:
        ones = np.ones(self._width - self._p, dtype=np.bool_)
        if problem.mask is None:
            return np.ones(self._width, dtype=np.bool_)
        if problem.mask.shape != (self._p,):
            raise ValueError(f"mask of {problem.mask.shape} for {self._p} columns")
        return np.concatenate([problem.mask.astype(np.bool_), ones])

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
        """Best weights so far, (m, p), an intercept last; 0 where masked."""
        pairs = zip(self._bases, self._descents, strict=True)
        best = [portable.product(basis, descent.best) for basis, descent in pairs]
        return np.array(best).reshape(len(best), self._width)

    @property
    def residuals(self) -> Float:
        """Bound on the distance of each problem's weights to its minimum, (m,)."""
        return np.array([descent.residual for descent in self._descents])

    def asked(self) -> tuple[Float, Float, Int]:
        """Return weights (m, p), folds left out (m, folds) and judged on (m,) of the active ones.

        Raises
        ------
        ValueError : there are none.
        """
        active = self.active
        if not active:
            raise ValueError("all problems have converged")
        excluded = np.zeros((len(active), self._folds))
        for row, index in enumerate(active):
            excluded[row, list(self._problems[index].excluded)] = 1.0
        pairs = [(self._bases[i], self._descents[i].trial) for i in active]
        weights = np.array([portable.product(basis, trial) for basis, trial in pairs])
        judges = [self._problems[i].validation for i in active]
        return weights, excluded, np.array(judges, dtype=np.int64)

    def answered(self, gradient: Float, loss: Float, judged: Float, counts: Float) -> None:
        """Take the outcome of the last request, of the active problems.

        Parameters
        ----------
        gradient : (m, p) and loss (m,), without the penalty.
        judged, counts : (m,), loss on the judging fold, and what it is a sum over.

        Raises
        ------
        ValueError : sizes other than those of the request.
        """
        active = self.active
        if gradient.shape != (len(active), self._width):
            raise ValueError("the outcome does not belong to the last request")
        for row, index in enumerate(active):
            descent, cost = self._descents[index], self._problems[index].cost
            trial = descent.trial
            value = 0.5 * portable.dot(trial, trial) + cost * float(loss[row])
            pull = portable.product(self._bases[index].T, gradient[row])
            if descent.update(value, trial + cost * pull):
                self.validation_loss[index] = judged[row]
                self.validation_count[index] = counts[row]
        self.rounds += 1
