from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, confusion_matrix

from common.statistics.scores import BinnedCalibration, BrierSums, Confusion, DecisionCounts

RANDOM = np.random.default_rng(0)
SCORES = np.round(RANDOM.random((130, 3)), 2)
LABELS = (RANDOM.random(130) < SCORES[:, 0]).astype(float)


def test_confusion_matches_scikit_learn_with_the_cutoff_counted_positive(
    rows: Any, summed: Any
) -> None:
    cutoffs = np.array([0.5, SCORES[0, 1], 0.31])
    result = summed(Confusion(cutoffs=cutoffs), rows(SCORES, LABELS))
    for k in range(3):
        tn, fp, fn, tp = confusion_matrix(LABELS, SCORES[:, k] >= cutoffs[k]).ravel()
        found = (result.tn[k], result.fp[k], result.fn[k], result.tp[k])
        assert found == (tn, fp, fn, tp)


def test_infinite_cutoff_calls_nobody_positive(rows: Any, summed: Any) -> None:
    result = summed(Confusion(cutoffs=np.full(3, np.inf)), rows(SCORES, LABELS))
    assert not result.tp.any()
    assert not result.fp.any()


def test_calibration_bins_match_numpy(rows: Any, summed: Any) -> None:
    scores = SCORES.copy()
    scores[:2] = [[0.0] * 3, [1.0] * 3]
    result = summed(BinnedCalibration(), rows(scores, LABELS))
    edges = np.arange(11) / 10
    for k in range(3):
        count, _ = np.histogram(scores[:, k], bins=edges)
        total, _ = np.histogram(scores[:, k], bins=edges, weights=scores[:, k])
        positives, _ = np.histogram(scores[:, k], bins=edges, weights=LABELS)
        assert np.array_equal(result.count[k], count)
        np.testing.assert_allclose(result.probability[k], total, atol=1e-10)
        assert np.array_equal(result.positives[k], positives)


def test_decision_counts_match_a_direct_count(rows: Any, summed: Any) -> None:
    result = summed(DecisionCounts(), rows(SCORES, LABELS))
    assert (result.n, result.positives) == (130, LABELS.sum())
    for index, threshold in enumerate(np.arange(1, 100) / 100):
        called = threshold <= SCORES
        assert np.array_equal(result.tp[:, index], called[LABELS > 0].sum(axis=0))
        assert np.array_equal(result.fp[:, index], called[LABELS < 1].sum(axis=0))


def test_brier_score_matches_scikit_learn(rows: Any, summed: Any) -> None:
    result = summed(BrierSums(), rows(SCORES, LABELS))
    for k in range(3):
        assert result[k] == pytest.approx(brier_score_loss(LABELS, SCORES[:, k]), abs=1e-11)


def test_brier_score_of_nobody_is_nan(rows: Any, summed: Any) -> None:
    assert np.isnan(summed(BrierSums(), rows(np.zeros((0, 2))))).all()


@pytest.mark.parametrize("statistic", [BinnedCalibration(), BrierSums()])
def test_what_is_no_probability_is_an_error(rows: Any, statistic: Any) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        statistic.from_rows(rows([[1.2]]))
