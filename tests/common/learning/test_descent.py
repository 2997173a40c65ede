"""Descent along bounds of the curvature that may be too small."""

from __future__ import annotations

import numpy as np
import pytest

from common.learning.descent import Descent
from common.learning.tridiagonal import tridiagonal


@pytest.mark.parametrize("too_small", [1.0, 50.0, 5000.0])
def test_a_descent_finds_the_minimum_where_its_bound_is_too_small(too_small: float) -> None:
    curvature, pull = np.diag([2.0, 4.0, 10.0]), np.array([3.0, -100.0, 7.0])
    bound = tridiagonal(0.5 * curvature / too_small)
    descent = Descent(bound, 1.0, 1e-9)
    for _ in range(40):
        if descent.converged:
            break
        at = bound.basis @ descent.trial
        value = 0.5 * at @ at + 0.5 * at @ curvature @ at - pull @ at
        descent.update(value, bound.basis.T @ (at + curvature @ at - pull))
    assert descent.converged
    expected = np.linalg.solve(np.eye(3) + curvature, pull)
    np.testing.assert_allclose(bound.basis @ descent.best, expected, atol=1e-8)
