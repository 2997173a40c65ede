"""Networks of different folds: what each says is put on one scale before it is pooled."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.duration.survfunc import SurvfuncRight

from common.statistics.base import Rows
from common.study.model import Study
from common.transforms import Linear
from common.transforms.views import materialise
from server.phases.networks import network_model, variants
from sim.engines.inprocess import SERVER_NODE, task_identity
from tests import builders
from tests.fixtures.survival import PERIODS, follow_up
from tests.fixtures.survival import hospitals as hospitals_of

N, FOLDS = 200, 5
TRAINED: Any = {"final": SimpleNamespace(width=4, origin="made up")}


@pytest.fixture
def study() -> Study:
    return builders.study(
        base_models=["dl3d"],
        tests={"t": ("external_test", "abc")},
        privacy={"masking": "off"},
    )


def patients() -> tuple[Any, Any, Any]:
    """Return what a perfect network would say, outcomes that follow it, and folds."""
    random = np.random.default_rng(5)
    truth = random.normal(size=N)
    label = (truth + random.normal(size=N) > 0.3).astype(float)
    return truth, label, np.arange(N) % FOLDS


def hospitals(study: Study, said: dict[str, Any]) -> dict[str, dict[str, Rows]]:
    """Three hospitals that have kept what each network says of their patients."""
    _, label, fold = patients()
    sites: dict[str, dict[str, Rows]] = {}
    for variant, own in said.items():
        name = f"dl3d/{variant}/probability"
        split = builders.split(own[:, None], label, fold, table=name, columns=["dl3d"])
        for site, tables in split.items():
            sites.setdefault(site, {}).update(tables)
    return sites


def out_of_fold(study: Study, said: dict[str, Any]) -> Any:
    sites = hospitals(study, said)
    federation = builders.federation(sites, study)
    model = network_model(federation, "dl3d", TRAINED)
    return np.concatenate(
        [
            materialise(model.out_of_fold, builders.Memory(own), "train").values[:, 0]
            for own in sites.values()
        ]
    )


def test_networks_that_speak_on_scales_of_their_own_are_pooled_on_one(study: Study) -> None:
    truth, label, fold = patients()
    alike = {variant: expit(truth) for variant in variants(study)}
    found = out_of_fold(study, alike)
    # the same order of patients, but another level and spread in every fold
    shifted = {
        variant: 0.15 + 0.1 * k + (0.5 - 0.08 * k) * expit(truth)
        for k, variant in enumerate(variants(study))
    }
    np.testing.assert_allclose(out_of_fold(study, shifted), found, atol=1e-6)
    assert abs(found.mean() - label.mean()) < 0.01  # Platt's scaling
    assert np.corrcoef(found, truth)[0, 1] > 0.9
    assert fold.max() == FOLDS - 1


def test_a_network_that_says_the_same_of_everybody_is_no_obstacle(study: Study) -> None:
    found = out_of_fold(study, {variant: np.full(N, 0.4) for variant in variants(study)})
    assert np.ptp(found) < 1e-6


def timed(said: Any) -> tuple[Any, Rows, Any]:
    """Return the model of networks with times, six hospitals' rows, and its out-of-fold risks."""
    rows = follow_up(900, 4, seed=2, events=0.35)
    grid = {"ends": [float(end + 1) for end in range(PERIODS)], "horizons": [4.0], "costs": [1e6]}
    study = builders.study(
        sites="abcdef",
        base_models=["dl3d"],
        follow_up=grid,
        tests={"t": ("external_test", "abc")},
        svm={"tolerance": 1e-7},
        selection={"clip": 99.0},
        privacy={"min_class_per_fold": 1, "min_rows_per_fold": 1, "min_rows_weak_penalty": 0},
    )
    tables: dict[str, dict[str, Rows]] = {site: {} for site in "abcdef"}
    for k, variant in enumerate(variants(study)):
        answers = Rows(**{**vars(rows), "values": said(rows, k)[:, None], "columns": ("dl3d",)})
        for site, own in zip("abcdef", hospitals_of(answers), strict=True):
            tables[site][f"dl3d/{variant}/hazard"] = own
    with task_identity(SERVER_NODE):
        federation = builders.federation(tables, study)
        model = network_model(federation, "dl3d", TRAINED)
    parts = [
        materialise(model.out_of_fold, builders.Memory(own), "train") for own in tables.values()
    ]
    risks = np.concatenate([one.values[:, 0] for one in parts])
    return model, rows, risks


def test_hazards_of_networks_become_risks_by_one_cox_model_of_all_hospitals() -> None:
    def said(rows: Rows, k: int) -> Any:
        return -3.0 + 0.4 * k + (1.0 + 0.2 * k) * (rows.values @ [0.7, -0.35, 0.0, 0.7])

    model, rows, risks = timed(said)
    fold = rows.fold.astype(int)
    own = np.array([said(rows, k)[i] for i, k in enumerate(fold)])
    z = np.zeros(rows.n)
    for k in range(5):
        learned = said(rows, k)[fold != k]
        z[fold == k] = (own[fold == k] - learned.mean()) / learned.std()
    cox = PHReg(rows.period, z, status=rows.label, ties="breslow", strata=rows.origin).fit()
    line = next(step for step in model.final.transforms if isinstance(step, Linear))
    assert line.weights[0] == pytest.approx(cox.params[0], abs=1e-5)
    assert line.weights[0] > 0.5
    # one baseline hazard for all: the mean risk is that of Kaplan-Meier
    curve = SurvfuncRight(rows.period, rows.label)
    observed = 1.0 - curve.surv_prob[np.searchsorted(curve.surv_times, 3, side="right") - 1]
    assert risks.mean() == pytest.approx(observed, abs=0.02)
    assert np.corrcoef(risks, z)[0, 1] > 0.8
    said_of = " ".join(model.selection["notes"])
    assert f"multiplies the hazard by {np.exp(cox.params[0]):.3g}" in said_of


def test_a_network_that_gives_everybody_one_hazard_gives_everybody_one_risk() -> None:
    model, _, risks = timed(lambda rows, k: np.full(rows.n, -2.0))
    assert np.ptp(risks) < 1e-9 and 0.0 < risks[0] < 1.0
    assert "all get one risk" in " ".join(model.selection["notes"])
