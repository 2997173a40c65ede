from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from bench.intervals import newcombe_interval
from common.evaluation.delong import (
    auc_interval,
    binormal_variance,
    exact,
    logit_estimate,
    paired_test,
    wald_interval,
)
from common.evaluation.joined_scores import joined_areas
from sim.equality import references


@given(n=st.integers(8, 50), seed=st.integers(0, 999), digits=st.integers(0, 3))
@settings(max_examples=40)
def test_midranks_match_comparing_all_pairs(n: int, seed: int, digits: int) -> None:
    random = np.random.default_rng(seed)
    labels = np.concatenate([[0, 0, 1, 1], random.integers(0, 2, n - 4)]).astype(float)
    scores = np.round(random.normal(size=(n, 3)) + labels[:, None], digits)
    result = exact(scores, labels)
    direct = references.delong(scores, labels)
    np.testing.assert_allclose(result.auc, direct.auc, atol=1e-12)
    np.testing.assert_allclose(result.covariance, direct.covariance, atol=1e-12)
    for column in range(3):
        assert result.auc[column] == pytest.approx(roc_auc_score(labels, scores[:, column]))


def test_paired_test_matches_the_definition() -> None:
    random = np.random.default_rng(0)
    labels = (random.random(80) < 0.4).astype(float)
    scores = random.normal(size=(80, 2)) + labels[:, None] * np.array([1.5, 0.7])
    z, p = paired_test(exact(scores, labels), 0, 1)
    direct = references.delong(scores, labels)
    auc, c = direct.auc, direct.covariance
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
    interval = auc_interval(result.auc[0], result.covariance[0, 0], 0, 9)
    assert math.isnan(interval.low) and math.isnan(interval.high) and interval.method == ""


def test_the_interval_of_many_patients_is_delongs_own() -> None:
    for auc, error in ((0.8, 0.002), (0.55, 0.004), (0.97, 0.0005)):
        found = auc_interval(auc, error**2, 30_000, 20_000)
        assert found.method == "score"
        assert (found.low, found.high) == pytest.approx(wald_interval(auc, error**2), abs=2e-4)


@pytest.mark.parametrize("auc", [0.55, 0.8, 0.97, 0.3])
def test_the_variance_of_normal_scores_is_the_integral_over_their_pairs(auc: float) -> None:
    h = stats.norm.ppf(auc)
    both = stats.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]]).cdf([h, h])
    pairs = 30 * 40
    expected = (auc * (1 - auc) + 29 * (both - auc**2) + 39 * (both - auc**2)) / pairs
    assert binormal_variance(auc, 40, 30) == pytest.approx(expected, rel=1e-5)


def test_the_variance_of_normal_scores_is_that_of_drawn_ones() -> None:
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(27, 4000))
    scores[:15] += 1.5
    auc = roc_areas(scores, np.arange(27) < 15)
    expected = binormal_variance(stats.norm.cdf(1.5 / math.sqrt(2)), 12, 15)
    assert np.var(auc) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("auc", [0.6, 0.9, 0.99])
def test_steady_logits_of_many_misplaced_patients_have_delongs_variance(auc: float) -> None:
    value, variance = logit_estimate(auc, 0.01**2, 40_000, 60_000)
    assert value == pytest.approx(math.log(auc / (1 - auc)))
    assert variance == pytest.approx((0.01 / (auc * (1 - auc))) ** 2, rel=0.01)


def test_steady_logits_of_few_misplaced_patients_are_not_surer_than_they_can_be() -> None:
    # one patient of 20 who is one pair out of place
    auc = 1.0 - 1.0 / 400.0
    found = logit_estimate(auc, 1e-7, 20, 20)
    assert found[1] > 0.4 * binormal_variance(auc, 20, 20) / (auc * (1 - auc)) ** 2
    assert math.isfinite(logit_estimate(1.0, 0.0, 20, 20)[0])


@given(auc=st.floats(0.02, 0.98), error=st.floats(1e-6, 0.1))
def test_the_interval_holds_its_area_lies_within_zero_and_one_and_mirrors(
    auc: float, error: float
) -> None:
    found = auc_interval(auc, error**2, 40, 30)
    assert 0.0 < found.low < auc < found.high < 1.0
    mirrored = auc_interval(1.0 - auc, error**2, 30, 40)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - found.high, 1 - found.low))


def test_delongs_own_interval_is_cut_to_zero_and_one() -> None:
    assert wald_interval(0.8, 0.04**2) == pytest.approx((0.8 - 0.0783986, 0.8 + 0.0783986))
    assert wald_interval(0.97, 0.04**2)[1] == 1.0
    assert all(math.isnan(end) for end in wald_interval(math.nan, 0.1))


@pytest.mark.parametrize("auc", [0.0, 0.5, 1.0])
def test_an_area_without_variance_has_an_interval_which_is_not_empty(auc: float) -> None:
    found = auc_interval(auc, 0.0, 12, 9)
    assert found.method == "score"
    assert 0.0 <= found.low <= auc <= found.high <= 1.0
    assert 0.05 < found.high - found.low < 0.9


@pytest.mark.parametrize("auc", [0.75, 0.9, 0.97, 0.99])
@pytest.mark.parametrize(("negatives", "positives"), [(52, 37), (33, 11), (60, 12), (11, 11)])
@pytest.mark.parametrize("joined", [1, 3])
def test_the_interval_holds_the_truth_as_often_as_it_says(
    auc: float, negatives: int, positives: int, joined: int
) -> None:
    rng, draws = np.random.default_rng(5), 400
    labels = np.repeat([0.0, 1.0], [negatives, positives])
    shift = stats.norm.ppf(auc) * math.sqrt(2)
    held = 0
    for _ in range(draws):
        scores = (rng.normal(size=labels.size) + shift * labels)[:, None]
        found = joined_areas(scores, labels, joined)
        own = auc_interval(found.auc[0], found.covariance[0, 0], negatives, positives)
        held += own.low <= auc <= own.high
    # 0.95, four standard errors of 400 draws less, or more
    assert 0.95 - 4 * math.sqrt(0.95 * 0.05 / draws) <= held / draws <= 0.987


@given(auc=st.floats(0.0, 1.0), negatives=st.integers(1, 300), positives=st.integers(1, 300))
@settings(max_examples=200, deadline=None)
def test_limits_lie_z_standard_errors_away_and_mirror(
    auc: float, negatives: int, positives: int
) -> None:
    low, high = newcombe_interval(auc, negatives, positives)
    assert low <= auc <= high
    mirrored = newcombe_interval(1.0 - auc, positives, negatives)
    assert mirrored == pytest.approx((1.0 - high, 1.0 - low), abs=1e-6)
    n = (negatives + positives) / 2 - 1
    for limit in (low, high):
        # Hanley and McNeil 1982 with Q1 = a / (2 - a), Q2 = 2 a^2 / (1 + a)
        q1, q2 = limit / (2 - limit), 2 * limit**2 / (1 + limit)
        variance = (limit * (1 - limit) + n * (q1 - limit**2) + n * (q2 - limit**2)) / (
            negatives * positives
        )
        if 1e-9 < limit < 1 - 1e-9:
            z = abs(auc - limit) / math.sqrt(variance)
            assert z == pytest.approx(1.959964, rel=1e-3)


def test_a_perfect_area_of_few_patients_excludes_what_chance_would_give() -> None:
    # of 5 against 5 all orders but one in 252 are imperfect
    low, high = newcombe_interval(1.0, 5, 5)
    assert (0.55 < low < 0.8, high) == (True, 1.0)
    narrower = [newcombe_interval(1.0, n, n)[0] for n in (5, 10, 20, 50, 200)]
    assert narrower == sorted(narrower)


@pytest.mark.parametrize("shift", [0.5, 1.5, 3.0])
def test_newcombes_interval_covers_the_true_area(shift: float) -> None:
    rng = np.random.default_rng(3)
    true = stats.norm.cdf(shift / math.sqrt(2))
    draws = 1500
    scores = rng.normal(size=(27, draws))
    scores[:15] += shift
    auc = roc_areas(scores, np.arange(27) < 15)
    covered = sum(low <= true <= high for low, high in (newcombe_interval(a, 12, 15) for a in auc))
    assert 0.93 <= covered / draws <= 0.985


def roc_areas(scores: Any, positive: Any) -> list[float]:
    psi = scores[positive][:, None] > scores[~positive][None]
    return [float(a) for a in psi.mean(axis=(0, 1))]


def test_two_models_without_variance_have_no_test() -> None:
    labels = np.repeat([0.0, 1.0], 10)
    result = exact(np.column_stack([labels, 2 * labels, 0 * labels]), labels)
    assert result.auc.tolist() == [1.0, 1.0, 0.5]
    for pair in ((0, 1), (0, 2), (1, 2)):
        assert all(math.isnan(value) for value in paired_test(result, *pair))


def test_missing_scores_are_an_error() -> None:
    with pytest.raises(ValueError, match="finite"):
        exact(np.array([[np.nan], [0.3]]), np.array([0.0, 1.0]))
