from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from common.statistics.svm import SvmGradient
from sim.equality import references

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(90, 4))
Y = (X[:, 0] > 0.2).astype(float)
FOLD = np.arange(90) % 5 - (np.arange(90) == 7)


def loss(weights: Any, chosen: Any) -> float:
    return float(references.squared_hinge(X[chosen], Y[chosen], weights).sum())


def test_losses_and_gradients_match_each_problem_on_pooled_rows(rows: Any, summed: Any) -> None:
    weights = RANDOM.normal(size=(3, 5))
    excluded = np.zeros((3, 5))
    excluded[1, 2] = excluded[2, 0] = excluded[2, 4] = 1.0
    statistic = SvmGradient(weights=weights, excluded=excluded, validation=np.array([-1, 2, 0]))
    result = summed(statistic, rows(X, Y, FOLD))
    for problem, left_out in enumerate([(), (2,), (0, 4)]):
        train = (FOLD >= 0) & ~np.isin(FOLD, left_out)
        assert result.loss[problem] == pytest.approx(loss(weights[problem], train))
        numeric = approx_fprime(weights[problem], loss, 1e-7, train)
        np.testing.assert_allclose(result.gradient[problem], numeric, rtol=1e-4, atol=1e-3)
    assert result.validation_loss[1] == pytest.approx(loss(weights[1], FOLD == 2))
    assert result.validation_rows.tolist() == [0, (FOLD == 2).sum(), (FOLD == 0).sum()]


def test_weights_for_other_columns_are_an_error(rows: Any) -> None:
    statistic = SvmGradient(
        weights=np.zeros((1, 3)), excluded=np.zeros((1, 5)), validation=np.array([-1])
    )
    with pytest.raises(ValueError, match="weights are for 2 columns, not 4"):
        statistic.from_rows(rows(X, Y))
