"""Cox models over hospitals in memory, against statsmodels on all patients together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sksurv.metrics import concordance_index_censored, cumulative_dynamic_auc
from sksurv.util import Surv
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.duration.survfunc import survdiff

from common.learning.quantile_cells import probability_quantiles
from common.statistics.base import Rows
from common.statistics.class_histogram import QUANTILES
from common.transforms import EventRisk, Linear
from common.transforms.views import materialise
from server.phases.clinical import fit_clinical
from server.phases.fitted_model import FittedModel
from server.phases.risk_groups import RISK_CELLS, decide_by_risk
from sim.engines.inprocess import SERVER_NODE, task_identity
from tests import builders
from tests.fixtures.survival import PERIODS, follow_up, hospitals

LOOSE = {"min_class_per_fold": 1, "min_rows_per_fold": 1}
UNPENALISED = 1e6
GRID = {
    "ends": [float(end) for end in range(1, PERIODS + 1)],
    "horizons": [4.0, 8.0],
    "costs": [UNPENALISED],
}


class Pooled:
    """All hospitals' rows, as `materialise` reads them."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def read(self, name: str, subset: str) -> Rows:
        del name, subset
        return self.rows


@pytest.fixture(scope="module")
def fitted() -> Iterator[tuple[Any, FittedModel, Rows]]:
    rows = follow_up(900, 4, seed=2, events=0.35)
    names = "abcdef"
    study = builders.study(
        sites=names,
        clinical=[builders.number(column) for column in rows.columns],
        follow_up=GRID,
        svm={"tolerance": 1e-7},
        selection={"clip": 99.0, "lasso_log10_min": -6.0},
        privacy={**LOOSE, "min_rows_weak_penalty": 0},
    )
    sites = {name: {"clinical": own} for name, own in zip(names, hospitals(rows), strict=True)}
    with task_identity(SERVER_NODE):
        federation = builders.federation(sites, study)
    with task_identity(SERVER_NODE):
        yield federation, fit_clinical(federation), rows


def step_of(model: FittedModel, kind: type[Any]) -> Any:
    return next(step for step in model.final.transforms if isinstance(step, kind))


def test_the_final_model_is_the_stratified_cox_model_of_the_pooled_rows(fitted: Any) -> None:
    _, model, rows = fitted
    linear = step_of(model, Linear)
    z = (rows.values - rows.values.mean(axis=0)) / rows.values.std(axis=0)
    own = z[:, [rows.columns.index(name) for name in linear.columns]]
    status = rows.label.astype(int)
    cox = PHReg(rows.period, own, status=status, ties="breslow", strata=rows.origin).fit()
    np.testing.assert_allclose(linear.weights, cox.params, atol=1e-5)
    assert model.selection["cox"]["cost"] == UNPENALISED


def test_the_final_model_ends_in_a_risk_by_the_first_horizon(fitted: Any) -> None:
    _, model, rows = fitted
    risk = materialise(model.final, Pooled(rows), "train").values[:, 0]
    assert ((risk > 0) & (risk < 1)).all()
    assert isinstance(model.final.transforms[-1], EventRisk)
    period = rows.period
    # those who were seen beyond the horizon, or had the event before
    known = (period > 3) | (rows.label > 0.5)
    observed = ((rows.label > 0.5) & (period <= 3))[known].mean()
    assert risk.mean() == pytest.approx(observed, abs=0.08)


def test_measures_of_the_training_patients_are_those_of_the_pooled_risks(fitted: Any) -> None:
    federation, model, rows = fitted
    decision = decide_by_risk(federation, {"clinical": model})
    (found,) = decision.training.follow_up
    risk = materialise(model.out_of_fold, Pooled(rows), "train").values[:, 0]
    happened, time = rows.label > 0.5, rows.period + 1.0
    theirs = concordance_index_censored(happened, time, risk, tied_tol=0)[0]
    assert found.harrell[0, 0] == pytest.approx(theirs, abs=1e-3)
    outcome = Surv.from_arrays(happened, time - 0.25 * happened)
    areas, _ = cumulative_dynamic_auc(outcome, outcome, risk, np.array([4.0, 8.0]), tied_tol=0)
    np.testing.assert_allclose(found.areas[0, :, 0], areas, atol=2e-3)
    high = (risk >= decision.cutoffs["clinical"]).astype(int)
    assert high.mean() == pytest.approx(0.5, abs=0.02)
    for own, strata in ((found.tests, None), (found.within, rows.origin)):
        statistic, p = survdiff(rows.period, rows.label, high, strata=strata)
        np.testing.assert_allclose(own[0], [statistic, p], rtol=1e-6, atol=1e-12)


def test_the_median_is_found_where_risks_crowd_near_0() -> None:
    random = np.random.default_rng(0)
    risk = 0.002 * np.exp(random.normal(size=2000))
    counts = np.histogram(risk, RISK_CELLS)[0][None].astype(float)
    found = probability_quantiles(RISK_CELLS[None], counts, QUANTILES)[0]
    # below the lowest edge but 0 there is one cell
    np.testing.assert_allclose(found[1:], np.quantile(risk, QUANTILES[1:]), rtol=0.06)
    assert (np.diff(RISK_CELLS) > 0).all() and RISK_CELLS[0] == 0.0 and RISK_CELLS[-1] == 1.0


def test_no_question_asks_for_a_second_derivative_or_a_row(fitted: Any) -> None:
    federation, _, _ = fitted
    asked = {type(item.statistic).__name__ for items in federation.rounds for item in items}
    assert asked <= {
        *("Means", "Missingness", "CentredSquares", "FoldHistogram", "FoldGram"),
        *("CoxGradient", "RiskSums", "Histogram", "LifeTable", "LogRank", "RankedPairs"),
    }
