from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.calibration import _sigmoid_calibration

from common.learning.platt import PlattFit
from sim.equality import references


def solve(decision: Any, label: Any, rows: Any, summed: Any, cap: int = 30) -> PlattFit:
    table = rows(np.asarray(decision)[:, None], label)
    fit = PlattFit(positives=int(np.sum(label)), negatives=int(np.sum(1 - np.asarray(label))))
    while not fit.converged and fit.rounds < cap:
        fit.update(summed(fit.request(), table))
    return fit


@pytest.mark.parametrize("spread", [0.3, 1.0, 4.0])
def test_matches_scipy_and_scikit_learn_on_pooled_rows(
    rows: Any, summed: Any, spread: float
) -> None:
    random = np.random.default_rng(0)
    label = (random.random(200) < 0.3).astype(float)
    decision = spread * (label - 0.4 + random.normal(size=200))
    fit = solve(decision, label, rows, summed)
    assert fit.converged
    assert fit.rounds <= 6
    assert (fit.a, fit.b) == pytest.approx(references.platt(decision, label), abs=1e-6)
    # scikit-learn stops its L-BFGS earlier
    assert (fit.a, fit.b) == pytest.approx(_sigmoid_calibration(decision, label), abs=1e-3)


def test_separable_values_have_a_finite_answer(rows: Any, summed: Any) -> None:
    label = np.repeat([0.0, 1.0], 30)
    decision = np.concatenate([np.linspace(-2, -1, 30), np.linspace(1, 2, 30)])
    fit = solve(decision, label, rows, summed)
    assert fit.converged
    assert (fit.a, fit.b) == pytest.approx(references.platt(decision, label), abs=1e-5)


def test_equal_values_give_the_smoothed_rate(rows: Any, summed: Any) -> None:
    label = np.repeat([0.0, 1.0], [30, 10])
    fit = solve(np.full(40, 0.7), label, rows, summed)
    assert fit.converged
    target = (10 * 11 / 12 + 30 / 32) / 40
    assert 1 / (1 + np.exp(fit.a * 0.7 + fit.b)) == pytest.approx(target, abs=1e-6)


def test_large_decision_values_converge(rows: Any, summed: Any) -> None:
    random = np.random.default_rng(1)
    label = (random.random(100) < 0.5).astype(float)
    decision = 500 * (label - 0.5 + random.normal(size=100))
    fit = solve(decision, label, rows, summed)
    assert fit.converged
    small = references.platt(decision / 500, label)
    assert (fit.a * 500, fit.b) == pytest.approx(small, abs=1e-5)


def test_one_class_is_an_error() -> None:
    with pytest.raises(ValueError, match="both classes"):
        PlattFit(positives=4, negatives=0)
