from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from statsmodels.duration.hazard_regression import PHReg

from common.statistics.base import Rows
from common.statistics.cox import CoxGradient, partial_likelihood
from tests.fixtures.survival import PERIODS, follow_up, over_hospitals

EVERYBODY = {"excluded": np.zeros((1, 5)), "validation": np.array([-1]), "periods": PERIODS}


@given(st.integers(0, 1000), st.floats(-2.0, 2.0))
@settings(max_examples=10, deadline=None)
def test_loss_and_gradient_are_those_of_statsmodels(seed: int, size: float) -> None:
    rows = follow_up(200, 4, seed=seed)
    weights = size * np.array([1.0, -1.0, 0.5, 0.2])
    found = over_hospitals(CoxGradient(weights=weights[None], **EVERYBODY), rows)
    status = rows.label.astype(int)
    model = PHReg(rows.period, rows.values, status=status, ties="breslow", strata=rows.origin)
    assert found.loss[0] == pytest.approx(-model.loglike(weights), rel=1e-9)
    np.testing.assert_allclose(found.gradient[0], -model.score(weights), rtol=1e-7, atol=1e-7)


def test_the_gradient_is_the_slope_of_the_loss() -> None:
    rows = follow_up(150, 4)
    at = np.array([0.3, -0.2, 0.1, 0.5])

    def loss(weights: np.ndarray) -> float:
        return partial_likelihood(rows, weights, PERIODS)[0]

    slope = optimize.approx_fprime(at, loss, 1e-6)
    np.testing.assert_allclose(partial_likelihood(rows, at, PERIODS)[1], slope, atol=1e-3)


def test_large_weights_stay_finite() -> None:
    rows = follow_up(150, 4)
    loss, gradient = partial_likelihood(rows, np.full(4, 2000.0), PERIODS)
    assert np.isfinite(loss) and np.isfinite(gradient).all()


def test_hospitals_are_compared_with_none_but_their_own_patients() -> None:
    rows = follow_up(300, 4)
    shifted = rows.values + 10.0 * (rows.origin[:, None] if rows.origin is not None else 0)
    moved = Rows(**{**vars(rows), "values": shifted})
    question = CoxGradient(weights=np.full((1, 4), 0.2), **EVERYBODY)
    one, other = over_hospitals(question, rows), over_hospitals(question, moved)
    np.testing.assert_allclose(one.loss, other.loss, rtol=1e-9)
    np.testing.assert_allclose(one.gradient, other.gradient, atol=1e-8)


def test_rows_that_belong_to_no_fold_take_no_part() -> None:
    rows = follow_up(200, 4)
    question = CoxGradient(weights=np.full((1, 4), 0.2), **EVERYBODY)
    outside = Rows(**{**vars(rows), "fold": np.where(rows.fold == 1, -1, rows.fold)})
    kept = rows.at(np.flatnonzero(rows.fold != 1))
    np.testing.assert_allclose(
        over_hospitals(question, outside).gradient, over_hospitals(question, kept).gradient
    )


def test_other_columns_folds_or_gaps_are_an_error() -> None:
    rows = follow_up(100, 4)
    question = CoxGradient(weights=np.zeros((1, 3)), **EVERYBODY)
    with pytest.raises(ValueError, match="3 columns, not 4"):
        question.from_rows(rows)
    question = CoxGradient(np.zeros((1, 4)), np.zeros((1, 3)), np.array([-1]), PERIODS)
    with pytest.raises(ValueError, match="fold 4 of 3"):
        question.from_rows(rows)
