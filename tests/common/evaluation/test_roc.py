from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc, roc_auc_score, roc_curve

from common.evaluation.roc import roc_from_histogram, roc_points, youden, youden_cutoff


@given(n=st.integers(4, 60), seed=st.integers(0, 999), digits=st.integers(0, 2))
@settings(max_examples=40)
def test_points_and_cutoff_match_scikit_learn(n: int, seed: int, digits: int) -> None:
    random = np.random.default_rng(seed)
    labels = np.concatenate([[0, 1], random.integers(0, 2, n - 2)]).astype(float)
    scores = np.round(random.normal(size=n) + labels, digits)
    fpr, tpr, cutoffs = roc_curve(labels, scores, drop_intermediate=False)
    curve = roc_points(scores, labels)
    np.testing.assert_allclose(curve.fpr, fpr, atol=1e-12)
    np.testing.assert_allclose(curve.tpr, tpr, atol=1e-12)
    assert np.array_equal(curve.cutoff, cutoffs)
    index = np.round(tpr - fpr, 9)
    assert youden_cutoff(scores, labels) == cutoffs[np.argmax(index)]


def test_cutoff_itself_counts_as_positive() -> None:
    scores, labels = np.array([0.1, 0.4, 0.6, 0.9]), np.array([0.0, 0.0, 1.0, 1.0])
    cutoff = youden_cutoff(scores, labels)
    assert cutoff == 0.6
    assert np.array_equal(scores >= cutoff, labels > 0.5)


def test_scores_that_tell_nothing_have_no_cutoff() -> None:
    assert youden_cutoff(np.full(6, 0.5), np.arange(6) % 2) == np.inf


def test_histogram_curve_is_the_curve_of_scores_rounded_down_to_edges() -> None:
    random = np.random.default_rng(0)
    labels = (random.random(200) < 0.4).astype(float)
    scores = np.clip(0.3 * labels + 0.7 * random.random(200), 0, 0.999)
    edges = np.linspace(0, 1, 21)
    counts = np.array([np.histogram(scores[labels == k], edges)[0] for k in (0, 1)], dtype=float)
    curve = roc_from_histogram(edges, counts)
    rounded = edges[np.searchsorted(edges, scores, side="right") - 1]
    assert auc(curve.fpr, curve.tpr) == pytest.approx(roc_auc_score(labels, rounded))
    assert youden(curve) == youden_cutoff(rounded, labels)
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)


def test_one_class_and_missing_scores_are_errors() -> None:
    with pytest.raises(ValueError, match="both classes"):
        roc_points(np.array([0.1, 0.2]), np.ones(2))
    with pytest.raises(ValueError, match="both classes"):
        roc_from_histogram(np.array([0.0, 1.0]), np.array([[0.0], [4.0]]))
    with pytest.raises(ValueError, match="finite"):
        roc_points(np.array([np.nan, 0.2]), np.array([0.0, 1.0]))
