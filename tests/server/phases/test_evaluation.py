"""Evaluation over sites, against scikit-learn on the pooled rows."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, confusion_matrix, roc_auc_score

from common.evaluation.delong import exact
from common.evaluation.within_folds import exact_scores
from common.statistics.base import Rows
from common.statistics.class_histogram import QUANTILES, score_edges
from common.statistics.fold_scores import FoldScoresResult
from common.transforms import Select
from common.transforms.views import materialise, table
from server.phases.clinical import fit_clinical
from server.phases.evaluation import WITHIN_FOLDS, apparent_areas, evaluate_training
from server.phases.over_sites import evaluate_over_sites
from server.phases.set_findings import EvaluationFindings, SetFindings, areas_of_parts
from server.report.performance_records import CalibrationFit
from server.report.rows import evaluation_rows
from tests import builders

NAMES = ("clinical", "radiomics")
VIEW = table("scores").then(Select(columns=NAMES))
CUTOFFS = {"clinical": 0.3, "radiomics": 0.5}
RANDOM = np.random.default_rng(2)
LABELS = (RANDOM.random(240) < 0.35).astype(float)
LOGITS = RANDOM.normal(size=(240, 2)) + LABELS[:, None] * np.array([1.5, 0.5])
SCORES = np.column_stack([1 / (1 + np.exp(-LOGITS[:, 0])), 0.2 + 0.02 * LOGITS[:, 1]])
SITE = np.arange(240) % 7 % 4
EDGES = score_edges(np.quantile(SCORES, QUANTILES, axis=0).T)


def rows_of(*sets: SetFindings, min_cell: int = 3) -> SimpleNamespace:
    """Rows of results.json, by table."""
    found = EvaluationFindings(CUTOFFS, sets, {}, (), {})
    return SimpleNamespace(**evaluation_rows(found, min_cell))


def evaluate(
    labels: Mapping[str, Any], min_cell: int = 3
) -> tuple[SimpleNamespace, builders.Recorded]:
    def rows(label: Any, site: int) -> Rows:
        own = np.flatnonzero(SITE[: label.size] == site)
        return Rows(SCORES[own], NAMES, label[own], np.full(own.size, -1))

    sets = dict.fromkeys(labels, ("internal_test", "abcd"))
    study = builders.open_study(sites="abcd", tests=sets, privacy={"min_cell": min_cell})
    sites = {
        name: {f"scores@{subset}": rows(label, site) for subset, label in labels.items()}
        for site, name in enumerate("abcd")
    }
    federation = builders.federation(sites, study)
    found = evaluate_over_sites(federation, list(labels), NAMES, VIEW, CUTOFFS, EDGES)
    return rows_of(*found, min_cell=min_cell), federation


def test_measures_of_several_sets_take_two_rounds_and_match_pooled_rows() -> None:
    found, sites = evaluate({"one": LABELS, "two": LABELS[:120]})
    assert len(sites.rounds) == 2
    assert [(row["set"], row["model"]) for row in found.performance] == [
        (name, model) for name in ("one", "two") for model in NAMES
    ]
    for row in found.performance:
        labels = LABELS if row["set"] == "one" else LABELS[:120]
        scores = SCORES[: labels.size, NAMES.index(row["model"])]
        assert row["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-3)
        tn, _, _, tp = confusion_matrix(labels, scores >= CUTOFFS[row["model"]]).ravel()
        assert (row["tp"], row["tn"], row["correct"]) == (tp, tn, tp + tn)
        assert "summed class-wise histograms" in row["method"]
    for row in found.calibration:
        labels = LABELS if row["set"] == "one" else LABELS[:120]
        scores = SCORES[: labels.size, NAMES.index(row["model"])]
        assert row["brier"] == pytest.approx(brier_score_loss(labels, scores), abs=5.1e-4)
        reported = [one["n"] for one in row["bins"] if one["n"] is not None]
        assert all(n == 0 or n >= 3 for n in reported)
        assert 0.9 * labels.size < sum(reported) <= labels.size


def test_a_curve_of_a_test_set_goes_through_the_counts_at_the_cutoff() -> None:
    found, _ = evaluate({"one": LABELS, "two": LABELS[:120]})
    for curve, measures in zip(found.roc, found.performance, strict=True):
        labels = LABELS if curve["set"] == "one" else LABELS[:120]
        corners = list(zip(curve["fpr"], curve["tpr"], strict=True))
        specificity = measures["tn"] / (labels == 0).sum()
        assert (pytest.approx(1 - specificity), measures["tp"] / labels.sum()) in corners
        assert corners == sorted(corners, key=lambda corner: corner[1])
        area = np.trapezoid(curve["tpr"], curve["fpr"])
        assert area == pytest.approx(measures["auc"], abs=0.01)


def test_calibration_of_several_sets_is_that_of_pooled_rows() -> None:
    found, _ = evaluate({"one": LABELS, "two": LABELS[:120]})
    assert len(found.calibration_fits) == 4
    for row in found.calibration_fits:
        labels = LABELS if row["set"] == "one" else LABELS[:120]
        scores = SCORES[: labels.size, NAMES.index(row["model"])]
        x = np.log(scores / (1 - scores))
        line = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(x[:, None], labels)
        assert row["slope"] == pytest.approx(line.coef_[0, 0], abs=2e-3)
        assert row["intercept"] == pytest.approx(line.intercept_[0], abs=2e-3)
        assert row["oe"] == pytest.approx(labels.sum() / scores.sum(), rel=1e-9)
        assert row["slope_low"] < row["slope"] < row["slope_high"]
        CalibrationFit(run="federated", **row)
    exact = rows_of(evaluate_training(NAMES, SCORES, LABELS, CUTOFFS, folds(), EDGES))
    for row, own in zip(found.recalibration, exact.recalibration, strict=False):
        assert (row["model"], row["way"]) == (own["model"], own["way"])
        assert row["brier"] == pytest.approx(own["brier"], abs=1e-3)
        assert row["net_benefit"] == pytest.approx(own["net_benefit"], abs=5e-3)
    for row, own in zip(found.performance, exact.performance, strict=False):
        assert row["average_precision"] == pytest.approx(own["average_precision"], abs=5e-3)
        assert row["ap_low"] < row["average_precision"] < row["ap_high"]


def test_the_area_within_hospitals_is_that_of_their_parts_weighed_by_pairs() -> None:
    own = [np.flatnonzero(site == SITE) for site in range(4)]
    pairs = [LABELS[at].sum() * (1 - LABELS[at]).sum() for at in own]
    found = areas_of_parts(NAMES, [exact(SCORES[at], LABELS[at]) for at in own])
    for i, name in enumerate(NAMES):
        each = [roc_auc_score(LABELS[at], SCORES[at, i]) for at in own]
        assert found[name][0] == pytest.approx(np.average(each, weights=pairs), abs=1e-12)
        assert 0 < found[name][1] < 0.02
    assert areas_of_parts(NAMES, []) == {}


def folds() -> list[FoldScoresResult]:
    """All patients in one fold, so that areas and counts are those of all."""
    return [exact_scores(own, LABELS, np.zeros(LABELS.size, dtype=np.int64), 1) for own in SCORES.T]


def test_bins_of_few_training_patients_are_withheld_and_not_empty() -> None:
    scores, labels = np.repeat([[0.05], [0.55]], 30, axis=0), np.tile([0.0, 1.0], 30)
    scores[:2] = 0.95
    by_fold = [exact_scores(scores[:, 0], labels, np.arange(60) // 30, 2)] * 2
    edges = score_edges(np.tile(QUANTILES, (2, 1)))
    found = rows_of(
        evaluate_training(NAMES, np.tile(scores, 2), labels, CUTOFFS, by_fold, edges, 3)
    )
    bins = found.calibration[0]["bins"]
    assert bins[9]["n"] is None  # two patients
    assert bins[7]["n"] == 0


def test_paired_test_is_close_to_that_on_pooled_rows() -> None:
    found, _ = evaluate({"one": LABELS})
    exact = rows_of(evaluate_training(NAMES, SCORES, LABELS, CUTOFFS, folds(), EDGES))
    assert found.delong[0]["z"] == pytest.approx(exact.delong[0]["z"], rel=0.02)
    assert {row["method"] for row in exact.performance} == {WITHIN_FOLDS}
    for row, own in zip(found.decision_curve, exact.decision_curve, strict=True):
        np.testing.assert_allclose(row["net_benefit"][:50], own["net_benefit"][:50], atol=0.01)


def test_points_of_the_curve_lie_on_the_exact_curve() -> None:
    found, _ = evaluate({"one": LABELS})
    exact = rows_of(evaluate_training(NAMES, SCORES, LABELS, CUTOFFS, folds(), EDGES))
    for curve, reference in zip(found.roc, exact.roc, strict=True):
        known = set(zip(np.round(reference["fpr"], 9), np.round(reference["tpr"], 9), strict=True))
        points = zip(np.round(curve["fpr"], 9), np.round(curve["tpr"], 9), strict=True)
        assert set(points) <= known
        assert len(curve["fpr"]) > 10


@pytest.mark.parametrize("label", [0.0, 1.0])
@pytest.mark.parametrize("min_cell", [0, 3])
def test_a_set_of_one_class_keeps_what_exists(label: float, min_cell: int) -> None:
    found, _ = evaluate({"one": np.full(60, label)}, min_cell)
    for row in found.performance:
        assert np.isnan([row["auc"], row["ci_low"], row["ci_high"]]).all()
        assert (row["n"], row["positives"]) == (60, 60 * label)
        assert row["tp"] + row["tn"] == row["correct"]
    assert not found.roc
    assert all(np.isfinite(row["brier"]) for row in found.calibration)
    assert len(found.decision_curve) == 2


def test_two_positives_are_too_few_to_tell_their_ranks() -> None:
    labels = np.zeros(60)
    labels[[3, 30]] = 1.0
    found, _ = evaluate({"one": labels})
    assert all(np.isnan(row["auc"]) for row in found.performance)
    assert {row["method"] for row in found.performance} == {
        "withheld: fewer than 3 patients of one class"
    }
    assert not found.roc


def test_an_empty_set_is_told_as_such() -> None:
    found, _ = evaluate({"one": np.zeros(0)})
    assert all(row["n"] == 0 and np.isnan(row["auc"]) for row in found.performance)
    assert not found.roc
    assert not found.decision_curve


def test_the_apparent_area_is_that_of_scikit_learn_within_folds() -> None:
    random = np.random.default_rng(4)
    values = random.normal(size=(150, 12))
    label = (values[:, 0] + 1.5 * random.normal(size=150) > 0).astype(float)
    sites = builders.split(values, label)
    federation = builders.federation(sites, builders.open_study(12))
    model = fit_clinical(federation)
    edges = score_edges(QUANTILES[None])
    found = apparent_areas(federation, {"clinical": model.final}, edges)
    rows = [materialise(model.final, builders.Memory(own), "train") for own in sites.values()]
    scores = np.concatenate([one.values[:, 0] for one in rows])
    labels, fold = (np.concatenate([getattr(one, k) for one in rows]) for k in ("label", "fold"))
    inside = [fold == k for k in range(5)]
    pairs = [labels[at].sum() * (1 - labels[at]).sum() for at in inside]
    exact = np.average([roc_auc_score(labels[at], scores[at]) for at in inside], weights=pairs)
    assert found == {"clinical": pytest.approx(exact, abs=3e-3)}
    out = [materialise(model.out_of_fold, builders.Memory(own), "train") for own in sites.values()]
    judged = np.concatenate([one.values[:, 0] for one in out])
    honest = np.average([roc_auc_score(labels[at], judged[at]) for at in inside], weights=pairs)
    assert exact > honest
