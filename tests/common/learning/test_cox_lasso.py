from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Lasso
from sksurv.linear_model import CoxnetSurvivalAnalysis
from sksurv.util import Surv
from statsmodels.duration.hazard_regression import PHReg

from common.learning.cox_lasso import CoxFolds, left_out, score_question
from common.learning.lasso import choose, lasso_path_from_gram
from common.statistics.base import Rows
from common.statistics.gram import FoldGram
from tests.fixtures.survival import PERIODS, follow_up, over_hospitals

ALPHAS = np.logspace(-3, 0, 40)


def standardised(n: int, p: int, seed: int = 0) -> Rows:
    rows = follow_up(n, p, seed)
    weights = np.where(np.arange(p) < 4, [*[0.9, -0.9, 0.7, -0.7], *[0.0] * (p - 4)], 0.0)
    random = np.random.default_rng(seed)
    values = random.normal(size=(rows.n, p))
    time = random.exponential(size=rows.n) / np.exp(values @ weights + 0.2 * rows.origin)
    leaves = np.quantile(time, 0.3) * random.uniform(0.2, 3.0, rows.n)
    seen = np.minimum(time, leaves)
    ends = np.quantile(seen, np.arange(1, PERIODS) / PERIODS)
    made = {"values": values, "label": (time <= leaves) * 1.0}
    return Rows(**{**vars(rows), **made, "period": np.searchsorted(ends, seen)})


def sums(rows: Rows, excluded: tuple[int, ...] = ()) -> CoxFolds:
    gram = over_hospitals(FoldGram(folds=5), rows)
    found = over_hospitals(score_question(5, rows.p, PERIODS), rows)
    return CoxFolds.of(gram, found, excluded)


def residuals(rows: Rows) -> Any:
    """Return the martingale residuals of the model without columns, within hospitals."""
    found = np.zeros(rows.n)
    assert rows.origin is not None and rows.period is not None
    for one in np.unique(rows.origin):
        own = np.flatnonzero(rows.origin == one)
        period, label = rows.period[own], rows.label[own]
        at_risk = np.array([(period >= now).sum() for now in range(PERIODS)])
        events = np.array([((period == now) & (label > 0.5)).sum() for now in range(PERIODS)])
        found[own] = label - np.cumsum(events / np.maximum(at_risk, 1))[period]
    return found


@pytest.mark.parametrize("gone", [(), (1,), (0, 3)])
def test_the_path_is_scikit_learns_on_the_residuals_per_event(gone: tuple[int, ...]) -> None:
    rows = standardised(500, 12)
    kept = rows.at(np.flatnonzero(~np.isin(rows.fold, gone)))
    y = residuals(kept) / kept.label.mean()
    path = lasso_path_from_gram(sums(rows).training(gone), np.array([0.5, 0.2, 0.05]))
    for column, alpha in zip(path.T, (0.5, 0.2, 0.05), strict=True):
        # residuals sum to zero, so that the intercept takes nothing
        expected = Lasso(alpha=alpha, tol=1e-12, max_iter=100_000).fit(kept.values, y).coef_
        np.testing.assert_allclose(column, expected, atol=1e-6)


def test_the_columns_that_enter_first_are_those_of_a_cox_model_with_a_lasso() -> None:
    rows = standardised(700, 20)
    fit = choose(sums(rows), ALPHAS, (0, 1, 2, 3, 4))
    assert {0, 1, 2, 3} <= set(fit.support.tolist())
    outcome = Surv.from_arrays(rows.label > 0.5, rows.period)
    theirs = CoxnetSurvivalAnalysis(n_alphas=100).fit(rows.values, outcome).coef_
    first = [np.argsort(np.argmax(path != 0, axis=1) + 999 * (path == 0).all(axis=1))[:4]
             for path in (fit.path, theirs)]  # fmt: skip
    assert set(first[0].tolist()) == set(first[1].tolist()) == {0, 1, 2, 3}


def test_errors_of_no_effect_are_the_loss_that_a_fold_adds() -> None:
    rows = standardised(400, 5)
    found = sums(rows, excluded=(4,)).validation_errors(2, np.zeros((5, 1)), np.zeros(1))
    loss = []
    for gone in ((4,), (4, 2)):
        kept = rows.at(np.flatnonzero(~np.isin(rows.fold, gone)))
        status = kept.label.astype(int)
        model = PHReg(kept.period, kept.values, status=status, ties="breslow", strata=kept.origin)
        loss.append(-model.loglike(np.zeros(5)))
    events = rows.label[rows.fold == 2].sum()
    assert found[0] == pytest.approx((loss[0] - loss[1]) / events, rel=1e-9)


def test_noise_alone_keeps_few_columns() -> None:
    rows = standardised(400, 12)
    noise = np.random.default_rng(5).normal(size=rows.values.shape)
    fit = choose(sums(Rows(**{**vars(rows), "values": noise})), ALPHAS, (0, 1, 2, 3, 4))
    assert fit.support.size <= 5
    assert left_out(5)[0] == () and len(left_out(5)) == 16
