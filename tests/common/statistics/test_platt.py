from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from common.statistics.platt import PlattSums

RANDOM = np.random.default_rng(0)
F = RANDOM.normal(size=80)
Y = (F + RANDOM.normal(size=80) > 0).astype(float)


def question(a: float, b: float) -> PlattSums:
    return PlattSums(
        a=np.array([0.5, a]),
        b=np.array([0.0, b]),
        positives=int(Y.sum()),
        negatives=int((1 - Y).sum()),
    )


def cross_entropy(ab: Any) -> float:
    p = 1 / (1 + np.exp(ab[0] * F + ab[1]))
    t = np.where(Y > 0, (Y.sum() + 1) / (Y.sum() + 2), 1 / ((1 - Y).sum() + 2))
    return float(-(t * np.log(p) + (1 - t) * np.log(1 - p)).sum())


def test_loss_gradient_and_hessian_match_numerical_derivatives(rows: Any, summed: Any) -> None:
    table = rows(F[:, None], Y)
    result = summed(question(-0.7, 0.2), table)
    assert result.loss[1] == pytest.approx(cross_entropy([-0.7, 0.2]))
    numeric = approx_fprime([-0.7, 0.2], cross_entropy, 1e-7)
    np.testing.assert_allclose(result.gradient[1], numeric, atol=1e-4)
    for axis, step in enumerate(((1e-5, 0.0), (0.0, 1e-5))):
        ahead = summed(question(-0.7 + step[0], 0.2 + step[1]), table).gradient[1]
        slope = (ahead - result.gradient[1]) / 1e-5
        np.testing.assert_allclose(result.hessian[1][axis], slope, atol=1e-3)


def test_huge_decision_values_do_not_overflow(rows: Any, summed: Any) -> None:
    result = summed(question(-1000.0, 0.0), rows(1000 * F[:, None], Y))
    assert np.isfinite(result.loss).all()
    assert np.isfinite(result.gradient).all()


def test_more_than_one_column_is_an_error(rows: Any) -> None:
    with pytest.raises(ValueError, match="one column of decision values is needed, not 2"):
        question(0.0, 0.0).from_rows(rows(np.zeros((3, 2))))
