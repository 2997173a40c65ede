"""Tables that break naive statistics, through the phases of a study over three sites."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from common.errors import RefusedError
from common.study.model import PrivacySettings
from common.transforms import Select
from common.transforms.views import materialise, table
from server.phases.batching import run_together
from server.phases.clinical import fit_clinical
from server.phases.components import principal_components
from server.phases.radiomics import fit_radiomics
from server.phases.spearman import spearman_filter
from server.phases.standardise import standardise
from tests import builders


def cohort(n: int = 120, p: int = 6, seed: int = 0) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    values = random.normal(size=(n, p))
    label = (values[:, 0] + 0.8 * random.normal(size=n) > 0.3).astype(float)
    return values, label


@pytest.fixture
def final_scores() -> Any:
    def score(model: Any, sites: Any) -> tuple[Any, Any]:
        """The final model's probabilities and labels over all sites."""
        parts = [
            materialise(model.final, builders.Memory(tables), "train") for tables in sites.values()
        ]
        scores = np.concatenate([part.values[:, 0] for part in parts])
        return scores, np.concatenate([part.label for part in parts])

    return score


def columns_of(model: Any, step: str) -> Any:
    return next(s for s in model.selection["steps"] if s["step"] == step)["names"]


def test_a_constant_column_is_named_and_left_out() -> None:
    values, label = cohort()
    values[:, 3] = 7.25
    model = fit_clinical(builders.federation(builders.split(values, label), builders.open_study(6)))
    assert columns_of(model, "constant") == ("x3",)
    assert "x3" not in model.selection["coefficients"]


@pytest.mark.parametrize("wanted", [True, False])
def test_a_column_missing_at_a_site_gets_an_indicator_where_the_study_wants_it(
    final_scores: Any, wanted: bool
) -> None:
    values, label = cohort()
    values[:30, 2] = np.nan  # site a lacks it
    sites = builders.split(values, label)
    study = builders.open_study(
        6, **({"selection": {"missing_indicators": True}} if wanted else {})
    )
    model = fit_clinical(builders.federation(sites, study))
    assert ("x2:missing" in columns_of(model, "columns")) is wanted
    scores, labels = final_scores(model, sites)
    assert np.isfinite(scores).all()
    assert roc_auc_score(labels, scores) > 0.8


def test_a_column_nobody_has_is_named_and_left_out() -> None:
    values, label = cohort()
    values[:, 5] = np.nan
    model = fit_clinical(builders.federation(builders.split(values, label), builders.open_study(6)))
    assert "x5" not in columns_of(model, "columns")
    assert any("x5" in note for note in model.selection["notes"])


def test_ties_everywhere_give_a_model_that_knows_the_rate(final_scores: Any) -> None:
    _, label = cohort()
    values = np.column_stack([np.tile([0.0, 1.0], 60), np.tile([0.0, 0.0, 1.0], 40)])
    sites = builders.split(values, label)
    model = fit_clinical(builders.federation(sites, builders.open_study(2)))
    scores, labels = final_scores(model, sites)
    assert np.isfinite(scores).all()
    assert scores.mean() == pytest.approx(labels.mean(), abs=0.05)


def test_one_patient_a_site_in_a_fold_is_enough_for_the_mathematics() -> None:
    values, label = cohort(60)
    fold = np.arange(60) % 4
    fold[[7, 20, 50]] = 4
    model = fit_clinical(
        builders.federation(builders.split(values, label, fold), builders.open_study(6))
    )
    assert np.isfinite(model.selection["svm"]["intercept"])


def test_one_patient_in_a_fold_is_refused_by_the_usual_thresholds() -> None:
    values, label = cohort(60)
    fold = np.arange(60) % 4
    fold[[7, 20, 50]] = 4
    usual = builders.open_study(6).model_copy(update={"privacy": PrivacySettings()})
    with pytest.raises(RefusedError, match="rule fold, threshold 5"):
        fit_clinical(builders.federation(builders.split(values, label, fold), usual))


def test_more_columns_than_patients_fit(final_scores: Any) -> None:
    values, label = cohort(45, 90)
    sites = builders.split(values, label)
    study = builders.open_study(90, privacy={"max_plain_columns": 90})
    model = fit_clinical(builders.federation(sites, study))
    scores, labels = final_scores(model, sites)
    assert roc_auc_score(labels, scores) > 0.7


def test_lasso_that_keeps_nothing_falls_back_and_says_so() -> None:
    random = np.random.default_rng(3)
    values, label = random.normal(size=(90, 8)), random.integers(0, 2, 90)
    study = builders.open_study(8, selection={"lasso_log10_min": -0.1})
    model = fit_clinical(builders.federation(builders.split(values, label), study))
    assert any("kept nothing" in note for note in model.selection["notes"])
    assert len(model.selection["coefficients"]) == study.selection.lasso_fallback


def test_perfect_separation_ends_with_finite_probabilities(final_scores: Any) -> None:
    values, _ = cohort()
    label = (values[:, 0] > 0).astype(float)
    values[:, 0] += 4.0 * label
    sites = builders.split(values, label)
    model = fit_clinical(builders.federation(sites, builders.open_study(6)))
    scores, labels = final_scores(model, sites)
    assert roc_auc_score(labels, scores) == 1.0
    assert ((scores > 0) & (scores < 1)).all()


def test_more_components_than_rows_allow_are_capped() -> None:
    values, label = cohort(20, 50)
    federation = builders.federation(builders.split(values, label), builders.open_study(50))
    columns = federation.columns("clinical")
    (view,) = principal_components(
        federation, [table("clinical").then(Select(columns=columns))], "pc"
    )
    assert len(view.outputs()) == 19


def test_duplicate_columns_leave_one() -> None:
    values, label = cohort(120, 3)
    values = np.hstack([values, values[:, :1] * 5 + 2, -values[:, 1:2]])
    federation = builders.federation(builders.split(values, label), builders.open_study(5))
    raw = table("clinical").then(Select(columns=federation.columns("clinical")))
    (scaled,), _ = standardise(federation, [raw])
    ((filtered,),) = run_together(federation, spearman_filter(federation.study, [scaled]))
    assert set(filtered.names) == {"x2", "x3", "x4"}


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_either_kernel_learns_what_its_kind_of_machine_can(final_scores: Any, kernel: str) -> None:
    random = np.random.default_rng(5)
    values = random.normal(size=(300, 2))
    label = (np.hypot(values[:, 0], values[:, 1]) + 0.2 * random.normal(size=300) > 1.2) * 1.0
    sites = builders.split(values, label)
    study = builders.open_study(2, svm={"kernel": kernel, "landmarks": 64})
    model = fit_clinical(builders.federation(sites, study))
    scores, labels = final_scores(model, sites)
    area = roc_auc_score(labels, scores)
    assert area > 0.95 if kernel == "rbf" else area < 0.75
    assert model.selection["svm"]["kernel"] == kernel


def test_radiomics_without_a_reliable_feature_goes_on_and_says_so() -> None:
    values, label = cohort(120, 8)
    sites = builders.split(values, label, table="radiomics", prefix="f")
    noise = builders.split(
        np.random.default_rng(9).normal(size=values.shape), label, table="radiomics:r2"
    )
    for name, tables in sites.items():
        tables["radiomics:r2"] = noise[name]["radiomics:r2"]
    model = fit_radiomics(builders.federation(sites, builders.open_study(1)))
    assert any("no feature passed" in note for note in model.selection["notes"])
    assert model.selection["coefficients"]
