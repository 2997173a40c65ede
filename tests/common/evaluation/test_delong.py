from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from common.evaluation.delong import auc_interval, exact, paired_test


def direct(scores: Any, labels: Any) -> tuple[Any, Any]:
    """DeLong by comparing every positive with every negative."""
    high, low = scores[labels > 0.5], scores[labels < 0.5]
    psi = (high[:, None] > low[None]) + 0.5 * (high[:, None] == low[None])
    v10, v01 = psi.mean(axis=1), psi.mean(axis=0)
    return psi.mean(axis=(0, 1)), np.cov(v10.T) / len(high) + np.cov(v01.T) / len(low)


@given(n=st.integers(8, 50), seed=st.integers(0, 999), digits=st.integers(0, 3))
@settings(max_examples=40)
def test_midranks_match_comparing_all_pairs(n: int, seed: int, digits: int) -> None:
    random = np.random.default_rng(seed)
    labels = np.concatenate([[0, 0, 1, 1], random.integers(0, 2, n - 4)]).astype(float)
    scores = np.round(random.normal(size=(n, 3)) + labels[:, None], digits)
    result = exact(scores, labels)
    auc, covariance = direct(scores, labels)
    np.testing.assert_allclose(result.auc, auc, atol=1e-12)
    np.testing.assert_allclose(result.covariance, covariance, atol=1e-12)
    for column in range(3):
        assert result.auc[column] == pytest.approx(roc_auc_score(labels, scores[:, column]))


def test_paired_test_matches_the_definition() -> None:
    random = np.random.default_rng(0)
    labels = (random.random(80) < 0.4).astype(float)
    scores = random.normal(size=(80, 2)) + labels[:, None] * np.array([1.5, 0.7])
    z, p = paired_test(exact(scores, labels), 0, 1)
    auc, c = direct(scores, labels)
    expected = (auc[0] - auc[1]) / math.sqrt(c[0, 0] + c[1, 1] - 2 * c[0, 1])
    assert z == pytest.approx(expected)
    assert p == pytest.approx(math.erfc(abs(expected) / math.sqrt(2)))
    assert paired_test(exact(scores, labels), 1, 0) == pytest.approx((-z, p))


def test_a_model_against_itself_has_p_one() -> None:
    random = np.random.default_rng(1)
    scores, labels = random.random((40, 1)), np.arange(40) % 2
    assert paired_test(exact(np.hstack([scores, 2 * scores]), labels), 0, 1) == (0.0, 1.0)


def test_perfect_against_perfectly_wrong_has_no_test() -> None:
    labels = np.repeat([0.0, 1.0], 10)
    result = exact(np.column_stack([labels, -labels]), labels)
    assert result.auc.tolist() == [1.0, 0.0]
    assert all(math.isnan(value) for value in paired_test(result, 0, 1))


def test_one_class_gives_nan_throughout() -> None:
    result = exact(np.random.default_rng(2).random((9, 2)), np.ones(9))
    assert np.isnan(result.auc).all()
    assert all(math.isnan(value) for value in paired_test(result, 0, 1))
    assert all(math.isnan(v) for v in auc_interval(result.auc[0], result.covariance[0, 0]))


def test_interval_is_normal_and_stays_within_zero_and_one() -> None:
    assert auc_interval(0.8, 0.04**2) == pytest.approx((0.8 - 0.0783986, 0.8 + 0.0783986))
    assert auc_interval(0.97, 0.04**2)[1] == 1.0
    assert auc_interval(0.8, 0.0) == (0.8, 0.8)


def test_missing_scores_are_an_error() -> None:
    with pytest.raises(ValueError, match="finite"):
        exact(np.array([[np.nan], [0.3]]), np.array([0.0, 1.0]))
