"""Minimisation by rounds: propose a point, be told value and gradient there, propose the next."""

from __future__ import annotations

import numpy as np

from common.statistics.base import Float

_ARMIJO = 1e-4
_NOISE = 1e-9


class Descent:
    """Quasi-Newton descent for  |u|^2 / 2 + C h(u)  with  0 <= h'' <= 2 diag(spectrum).

    The bound is a majoriser: the step (I + 2 C diag(spectrum))^-1 g always lowers the value, so it
    is what follows when a bolder step has failed. Otherwise BFGS with all pairs kept (Nocedal and
    Wright 2006, algorithm 7.4) starts from I + 2 C r diag(spectrum), r being the share of the
    curvature bound met along all steps.

    It has converged when the gradient's norm, which bounds the distance to the minimum as the
    objective is 1-strongly convex, or the next bold step after a successful one is no longer than
    `tolerance`; that last step is taken too.

    Parameters
    ----------
    spectrum : (d,), not negative: eigenvalues of the bound, `u` in its eigenvectors' coordinates.
    cost : C.
    tolerance : distance of `best` to the minimum, about, when `converged`.
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
        """Take value and gradient at `trial`; set the next one. True when the trial is the best."""
        if not np.isfinite(self._value):
            accepted = True
        else:
            step = self.trial - self.best
            self._remember(step, gradient - self._gradient)
            slope = float(self._gradient @ step)
            lower = value <= self._value + _ARMIJO * slope
            # near the minimum values differ by fixed-point rounding only, but gradients still tell
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
