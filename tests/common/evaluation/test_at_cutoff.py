"""Measures at a cut-off against scipy, published examples, and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from common.evaluation.at_cutoff import at_cutoff, proportion, ratio


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int, int]:
    positives, negatives = draw(st.integers(0, 60)), draw(st.integers(0, 60))
    tp, tn = draw(st.integers(0, positives)), draw(st.integers(0, negatives))
    return tp, tn, positives, negatives


@given(counts())
def test_every_measure_lies_in_its_interval_or_does_not_exist(
    given_counts: tuple[int, int, int, int],
) -> None:
    found = at_cutoff(*given_counts)
    for one in vars(found).values():
        if math.isnan(one.value):
            assert math.isnan(one.low) and math.isnan(one.high)
        else:
            assert 0.0 <= one.low <= one.high
            assert one.low <= one.value <= one.high


@given(counts())
def test_measures_follow_their_definitions(given_counts: tuple[int, int, int, int]) -> None:
    tp, tn, positives, negatives = given_counts
    found = at_cutoff(*given_counts)
    if positives and negatives and 0 < tn < negatives:
        share = found.sensitivity.value / (1.0 - found.specificity.value)
        assert found.lr_positive.value == pytest.approx(share)
        share = (1.0 - found.sensitivity.value) / found.specificity.value
        assert found.lr_negative.value == pytest.approx(share)
    if tp + negatives - tn:
        assert found.ppv.value == tp / (tp + negatives - tn)
    if tn + positives - tp:
        assert found.npv.value == tn / (tn + positives - tp)


def test_wilsons_interval_is_that_of_newcombes_table() -> None:
    # Newcombe 1998, Stat Med 17:857-872, table I, method 3
    for part, whole, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        found = proportion(part, whole)
        assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert proportion(0, 20).high == pytest.approx(0.1611, abs=5e-5)
    assert proportion(0, 20).low == 0.0
    assert math.isnan(proportion(0, 0).value)


def test_the_interval_of_a_ratio_is_scipys_relative_risk() -> None:
    for counted in ((9, 10, 3, 20), (40, 50, 7, 60), (1, 30, 29, 31)):
        found, wanted = ratio(*counted), stats.contingency.relative_risk(*counted)
        ends = wanted.confidence_interval(0.95)
        assert found.value == pytest.approx(wanted.relative_risk)
        assert (found.low, found.high) == pytest.approx((ends.low, ends.high))


def test_a_count_of_zero_gives_an_open_end_and_no_error() -> None:
    none_wrong = ratio(9, 10, 0, 20)
    assert none_wrong.value == math.inf and none_wrong.high == math.inf
    assert 1.0 < none_wrong.low < math.inf
    none_found = ratio(0, 10, 5, 20)
    assert none_found.value == none_found.low == 0.0
    assert 0.0 < none_found.high < math.inf
    assert math.isnan(ratio(0, 10, 0, 20).value)
    assert math.isnan(ratio(1, 1, 0, 0).value)


@pytest.mark.parametrize(("sensitivity", "specificity"), [(0.8, 0.7), (0.9, 0.95)])
def test_ratios_cover_the_truth(sensitivity: float, specificity: float) -> None:
    rng, draws = np.random.default_rng(4), 1500
    true, inside = sensitivity / (1 - specificity), 0
    for tp, fp in zip(
        rng.binomial(40, sensitivity, draws), rng.binomial(60, 1 - specificity, draws), strict=True
    ):
        one = ratio(int(tp), 40, int(fp), 60)
        inside += one.low <= true <= one.high
    assert 0.93 <= inside / draws <= 0.985


def test_more_judged_correctly_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="judged correctly"):
        at_cutoff(tp=5, tn=1, positives=4, negatives=3)
