from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, confusion_matrix, roc_auc_score

from common.evaluation.calibration_fit import fit_rows
from common.evaluation.joined_scores import group_scores
from common.evaluation.local import Evaluation, evaluate_locally, evaluate_rows
from common.evaluation.roc import roc_from_histogram
from common.messages.codec import decode, encode
from common.statistics.base import Rows
from common.statistics.class_histogram import score_edges

RANDOM = np.random.default_rng(4)
LABELS = (RANDOM.random(60) < 0.4).astype(float)
SCORES = np.clip(0.3 * LABELS[:, None] + 0.7 * RANDOM.random((60, 2)), 0, 1)
CUTOFFS = np.array([0.4, 0.6])


def evaluate(labels: np.ndarray, min_cell: int = 3, measure: Any = evaluate_locally) -> Evaluation:
    rows = Rows(
        values=SCORES[: labels.size],
        columns=("a", "b"),
        label=labels,
        fold=np.full(labels.size, -1),
    )
    return measure(rows, CUTOFFS, score_edges(np.zeros((2, 0))), min_cell)


def test_measures_of_rows_match_scikit_learn() -> None:
    found = evaluate(LABELS, measure=evaluate_rows)
    for k in range(2):
        assert found.delong.auc[k] == pytest.approx(roc_auc_score(LABELS, SCORES[:, k]), abs=1e-12)
        assert found.brier[k] == pytest.approx(brier_score_loss(LABELS, SCORES[:, k]), abs=1e-12)
        tn, fp, fn, tp = confusion_matrix(LABELS, SCORES[:, k] >= CUTOFFS[k]).ravel()
        counts = found.confusion
        assert (counts.tn[k], counts.fp[k], counts.fn[k], counts.tp[k]) == (tn, fp, fn, tp)


def test_measures_of_a_hospital_are_near_those_of_its_rows() -> None:
    found, rows = evaluate(LABELS), evaluate(LABELS, measure=evaluate_rows)
    np.testing.assert_allclose(found.delong.auc, rows.delong.auc, atol=0.01)
    np.testing.assert_allclose(found.delong.covariance, rows.delong.covariance, rtol=0.1)
    np.testing.assert_allclose(found.brier, rows.brier, atol=0.006)
    np.testing.assert_array_equal(found.confusion.tp, rows.confusion.tp)
    np.testing.assert_array_equal(found.confusion.tn, rows.confusion.tn)
    np.testing.assert_allclose(found.decision.tp, rows.decision.tp, atol=5)
    np.testing.assert_allclose(found.decision.fp, rows.decision.fp, atol=5)


def test_a_hospital_whose_cells_may_hold_one_gives_the_measures_of_its_rows() -> None:
    found, rows = evaluate(LABELS, 0), evaluate(LABELS, 0, evaluate_rows)
    np.testing.assert_array_equal(found.delong.auc, rows.delong.auc)
    np.testing.assert_array_equal(found.brier, rows.brier)
    np.testing.assert_array_equal(found.decision.tp, rows.decision.tp)


def test_calibration_of_a_hospital_is_that_of_its_groups() -> None:
    label = np.concatenate([LABELS, LABELS])
    rows = Rows(np.vstack([SCORES, SCORES[::-1]]), ("a", "b"), label, np.full(120, -1))
    edges = score_edges(np.zeros((2, 0)))
    grouped = fit_rows(group_scores(rows, edges, 3))
    found = evaluate_locally(rows, CUTOFFS, edges, 3)
    for name in ("large", "slope", "slope_error"):
        np.testing.assert_array_equal(getattr(found.fit, name), np.round(getattr(grouped, name), 3))
    assert np.isfinite(found.smooth.precision).all()
    assert np.isfinite(found.smooth.curve.observed).all()
    few = evaluate_locally(rows.at(np.arange(18)), CUTOFFS, edges, 3)
    assert np.isnan(few.fit.slope).all() and np.isnan(few.smooth.curve.observed).all()
    assert np.isnan(few.smooth.recalibrated.brier[:, 2]).all()
    assert np.isfinite(few.smooth.recalibrated.brier[:, :2]).all()


def test_no_step_of_the_curve_shows_fewer_rows_than_a_cell_may_hold() -> None:
    found = evaluate(LABELS)
    totals = np.array([(LABELS < 0.5).sum(), (LABELS > 0.5).sum()])
    for edges, counts in zip(found.histogram.edges, found.histogram.counts, strict=True):
        curve = roc_from_histogram(edges, counts)
        for rate, total in zip((curve.fpr, curve.tpr), totals, strict=True):
            steps = np.rint(np.diff(rate) * total)
            assert ((steps == 0) | (steps >= 3)).all()


@pytest.mark.parametrize("labels", [np.ones(20), np.zeros(20), np.zeros(0)])
def test_what_one_class_or_nobody_can_tell_is_told(labels: np.ndarray) -> None:
    found = evaluate(labels)
    assert np.isnan(found.delong.auc).all()
    assert (found.delong.n, found.delong.positives) == (labels.size, labels.sum())
    assert np.isfinite(found.brier).all() == (labels.size > 0)
    assert found.calibration.count.sum() <= 2 * labels.size


def test_it_travels_unchanged_with_areas_that_do_not_exist() -> None:
    found = evaluate(np.ones(20))
    again = decode(encode(found))
    np.testing.assert_array_equal(again.delong.auc, found.delong.auc)
    np.testing.assert_array_equal(again.histogram.edges, found.histogram.edges)
    np.testing.assert_array_equal(again.decision.tp, found.decision.tp)
