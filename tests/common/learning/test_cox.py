from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import optimize
from statsmodels.duration.hazard_regression import PHReg

from common.learning.cox import CoxBatch
from common.learning.descent import Problem
from common.statistics.base import Rows
from common.statistics.cox import CoxGradient, partial_likelihood
from common.statistics.gram import FoldGram
from tests.fixtures.survival import PERIODS, follow_up, hospitals, over_hospitals

UNPENALISED = 1e6


def solve(rows: Rows, problems: list[Problem], rounds: int = 60) -> CoxBatch:
    gram = over_hospitals(FoldGram(folds=5), rows)
    batch = CoxBatch(gram, problems, PERIODS)
    while not batch.converged and batch.rounds < rounds:
        batch.update(over_hospitals(batch.request(), rows))
    return batch


def phreg(rows: Rows) -> Any:
    """Fit statsmodels' Cox model of the pooled rows, hospitals as strata, ties as Breslow."""
    status = rows.label.astype(int)
    model = PHReg(rows.period, rows.values, status=status, ties="breslow", strata=rows.origin)
    return model.fit().params


@pytest.mark.parametrize(
    ("n", "p", "events", "effect"),
    [(600, 6, 0.25, 0.7), (400, 12, 0.1, 1.5), (900, 16, 0.4, 0.3), (150, 4, 0.3, 3.0)],
)
def test_models_over_hospitals_match_the_stratified_model_of_the_pooled_rows(
    n: int, p: int, events: float, effect: float
) -> None:
    rows = follow_up(n, p, events=events, effect=effect)
    left_out = (UNPENALISED, (0,), 0)
    batch = solve(rows, [Problem(UNPENALISED), Problem(*left_out)], 25)
    assert batch.converged
    np.testing.assert_allclose(batch.weights[0], phreg(rows), atol=2e-6)
    kept = rows.at(np.flatnonzero(rows.fold != 0))
    np.testing.assert_allclose(batch.weights[1], phreg(kept), atol=2e-6)


def test_penalised_models_are_the_minimum_that_scipy_finds() -> None:
    rows = follow_up(400, 8, seed=3)
    costs = (0.01, 0.1, 1.0)
    batch = solve(rows, [Problem(cost) for cost in costs])

    def objective(weights: Any, cost: float) -> tuple[float, Any]:
        parts = [partial_likelihood(part, weights, PERIODS) for part in hospitals(rows)]
        loss, gradient = (sum(one) for one in zip(*parts, strict=True))
        return 0.5 * weights @ weights + cost * loss, weights + cost * gradient

    for cost, weights in zip(costs, batch.weights, strict=True):
        found = optimize.minimize(
            objective, np.zeros(8), (cost,), jac=True, method="L-BFGS-B", options={"ftol": 1e-15}
        )
        np.testing.assert_allclose(weights, found.x, atol=1e-5)


def test_a_fold_is_judged_by_the_loss_that_it_adds() -> None:
    rows = follow_up(500, 4, seed=1)
    batch = solve(rows, [Problem(1.0, (2,), 2)])
    kept = rows.at(np.flatnonzero(rows.fold != 2))
    added = 0.0
    for some, sign in ((rows, 1.0), (kept, -1.0)):
        status = some.label.astype(int)
        pooled = PHReg(some.period, some.values, status=status, ties="breslow", strata=some.origin)
        added -= sign * pooled.loglike(batch.weights[0])
    assert batch.validation_loss[0] == pytest.approx(added, rel=1e-7)
    assert batch.validation_count[0] == rows.label[rows.fold == 2].sum()


def test_a_mask_leaves_columns_out() -> None:
    rows = follow_up(500, 6, seed=2)
    mask = np.array([1, 0, 1, 1, 0, 0], dtype=bool)
    batch = solve(rows, [Problem(UNPENALISED, mask=mask)])
    narrow = Rows(**{**vars(rows), "values": rows.values[:, mask]})
    np.testing.assert_allclose(batch.weights[0][mask], phreg(narrow), atol=2e-6)
    assert not batch.weights[0][~mask].any()


def test_a_separating_column_is_held_by_the_penalty() -> None:
    rows = follow_up(300, 3, seed=4)
    values = np.column_stack([rows.values, rows.label])
    rows = Rows(**{**vars(rows), "values": values, "columns": (*rows.columns, "tells")})
    batch = solve(rows, [Problem(cost) for cost in (0.1, 1.0, 10.0)], 60)
    assert batch.converged and np.isfinite(batch.weights).all()


def test_what_cannot_be_fitted_is_refused() -> None:
    rows = follow_up(200, 3)
    gram = over_hospitals(FoldGram(folds=5), rows)
    with pytest.raises(ValueError, match="not positive"):
        CoxBatch(gram, [Problem(0.0)], PERIODS)
    with pytest.raises(ValueError, match="mask"):
        CoxBatch(gram, [Problem(1.0, mask=np.ones(2, dtype=bool))], PERIODS)
    nobody = Rows(**{**vars(rows), "label": np.zeros(rows.n)})
    with pytest.raises(ValueError, match="no events"):
        CoxBatch(over_hospitals(FoldGram(folds=5), nobody), [Problem(1.0)], PERIODS)
    batch = CoxBatch(gram, [Problem(1.0)], PERIODS)
    question = CoxGradient(np.zeros((2, 3)), np.zeros((2, 5)), np.array([-1, -1]), PERIODS)
    with pytest.raises(ValueError, match="last request"):
        batch.update(over_hospitals(question, rows))
