"""Decision-level fusion of risks over hospitals, against statsmodels on all patients together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sksurv.metrics import concordance_index_censored
from statsmodels.duration.hazard_regression import PHReg

from common.disclosure.forms import FormError, check_form, check_models
from common.statistics.base import Rows
from common.transforms import EventRisk, Linear, LogHazard, Select
from common.transforms.views import ByFold, View, materialise, table
from server.phases.clinical import fit_clinical
from server.phases.decision import STACKER, Decision
from server.phases.fitted_model import FittedModel
from server.phases.risk_groups import decide_by_risk, risk_asks
from sim.engines.inprocess import SERVER_NODE, task_identity
from tests import builders
from tests.fixtures.survival import PERIODS, follow_up, hospitals

LOOSE = {"min_class_per_fold": 1, "min_rows_per_fold": 1, "min_rows_weak_penalty": 0}
NAMES = ("clinical", "radiomics")
GRID = {
    "ends": [float(end) for end in range(1, PERIODS + 1)],
    "horizons": [4.0],
    "costs": [1e6],
}


class Pooled:
    """Rows of all hospitals, by table."""

    def __init__(self, tables: dict[str, Rows]) -> None:
        self.tables = tables

    def read(self, name: str, subset: str) -> Rows:
        del subset
        return self.tables[name]


def parted(rows: Rows) -> dict[str, Rows]:
    """Half of the columns are those of a second model."""
    half = rows.p // 2
    parts = {"clinical": slice(0, half), "radiomics": slice(half, rows.p)}
    return {
        name: Rows(**{**vars(rows), "values": rows.values[:, own], "columns": rows.columns[own]})
        for name, own in parts.items()
    }


def made_up(columns: tuple[str, ...]) -> FittedModel:
    """Return a model that differs a little in each fold."""

    def part(shift: float) -> View:
        weights = np.array([0.9, -0.5, 0.1])[: len(columns)] + shift
        step = Linear(columns, weights, intercept=0.0, name="radiomics")
        return table("radiomics").then(Select(columns=columns), step)

    folds = View(source=ByFold(parts=tuple(part(0.03 * fold) for fold in range(5))))
    risk = EventRisk(b=-3.0)
    return FittedModel("radiomics", folds.then(risk), part(0.0).then(risk), (), {})


@pytest.fixture(scope="module")
def fused() -> Iterator[tuple[Any, Decision, dict[str, FittedModel], Rows]]:
    rows = follow_up(900, 6, seed=2, events=0.35)
    study = builders.study(
        sites="abcdef",
        clinical=[builders.number(column) for column in parted(rows)["clinical"].columns],
        base_models=NAMES,
        fusion_models=("fusion_decision",),
        follow_up=GRID,
        svm={"tolerance": 1e-7},
        selection={"clip": 99.0, "lasso_log10_min": -6.0},
        privacy=LOOSE,
    )
    sites = {name: parted(own) for name, own in zip("abcdef", hospitals(rows), strict=True)}
    with task_identity(SERVER_NODE):
        federation = builders.federation(sites, study)
    with task_identity(SERVER_NODE):
        fitted = {
            "clinical": fit_clinical(federation),
            "radiomics": made_up(parted(rows)["radiomics"].columns),
        }
        yield study, decide_by_risk(federation, fitted), fitted, rows


def risks(views: dict[str, View], rows: Rows) -> Any:
    found = [materialise(view, Pooled(parted(rows)), "train").values for view in views.values()]
    return np.hstack(found)


def log_hazards(values: Any) -> Any:
    return np.log(-np.log1p(-values))


def test_the_fusion_is_the_stratified_cox_model_of_all_out_of_fold_hazards(fused: Any) -> None:
    _, decision, fitted, rows = fused
    steps = {type(step): step for step in decision.stacker.final.transforms}
    scale, linear = steps[LogHazard], steps[Linear]
    own = log_hazards(risks({n: m.out_of_fold for n, m in fitted.items()}, rows))
    np.testing.assert_allclose(scale.mean, own.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(scale.scale, own.std(axis=0), rtol=0.05)
    z = (own - scale.mean) / scale.scale
    status = rows.label.astype(int)
    cox = PHReg(rows.period, z, status=status, ties="breslow", strata=rows.origin).fit()
    np.testing.assert_allclose(linear.weights, cox.params, atol=1e-5)


def test_its_risks_are_better_ordered_than_those_of_either_model(fused: Any) -> None:
    study, decision, _, rows = fused
    names = (*NAMES, STACKER)
    assert tuple(decision.models) == tuple(decision.cutoffs) == names
    (found,) = decision.training.follow_up
    harrell = dict(zip(names, found.harrell[:, 0], strict=True))
    assert harrell[STACKER] > max(harrell[name] for name in NAMES)
    values = risks({STACKER: decision.models[STACKER]}, rows)[:, 0]
    happened = rows.label > 0.5
    of_final = concordance_index_censored(happened, rows.period + 1.0, values, tied_tol=0)[0]
    assert of_final == pytest.approx(harrell[STACKER], abs=0.03)
    assert 0.0 < values.min() < values.max() < 1.0
    calibration = found.calibration[2].whole
    assert calibration[0] == pytest.approx(calibration[1], abs=0.04)
    check_models(decision.models, study)


def test_a_fold_is_judged_by_a_fusion_that_did_not_see_it(fused: Any) -> None:
    _, decision, fitted, rows = fused
    final = decision.stacker.final
    joined = materialise(
        View(source=final.source, transforms=final.transforms), Pooled(parted(rows)), "train"
    )
    assert joined.columns == (STACKER,)
    own = log_hazards(risks({n: m.out_of_fold for n, m in fitted.items()}, rows))
    steps = {type(step): step for step in final.transforms}
    z = (own - steps[LogHazard].mean) / steps[LogHazard].scale
    without = rows.fold != 2
    status = rows.label[without].astype(int)
    strata = rows.origin[without]
    cox = PHReg(
        rows.period[without], z[without], status=status, ties="breslow", strata=strata
    ).fit()
    apart = np.abs(cox.params - steps[Linear].weights).max()
    assert 1e-4 < apart < 0.5


def test_no_step_of_the_fusion_stands_on_a_table_in_its_place(fused: Any) -> None:
    study, decision, _, _ = fused
    final = decision.stacker.final
    check_form(final, study)
    step = next(step for step in final.transforms if isinstance(step, LogHazard))
    twice = View(source=final.source, transforms=(*final.transforms[:-1], step))
    with pytest.raises(FormError):
        check_form(twice, study)
    on_fusion = Linear((STACKER,), np.ones(1), intercept=0.0, name=STACKER)
    with pytest.raises(FormError):
        check_form(View(source=type(final.source)(parts=(final,))).then(on_fusion), study)
    other = LogHazard(step.columns, step.mean, step.scale, limit=step.limit + 1.0)
    with pytest.raises(FormError):
        check_form(View(source=final.source).then(other), study)


def test_the_phase_declares_what_the_fusion_asks(fused: Any) -> None:
    study = fused[0]
    asked = {one.what for one in risk_asks(study).asked}
    assert {"CoxGradient", "FoldGram", "FoldHistogram", "RiskSums", "Histogram"} <= asked
