from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from common.statistics.table1 import (
    GroupSums,
    JoinedHistogram,
    ProtectedLevelCounts,
    averaged,
)


def test_mean_and_deviation_match_numpy_whatever_the_centre(rows: Any, summed: Any) -> None:
    values = np.random.default_rng(0).normal(60, 9, (90, 2))
    values[::7, 1] = np.nan
    for centre in (0.0, 61.3):
        result = summed(GroupSums(centre=np.full(2, centre)), rows(values))
        np.testing.assert_allclose(result.mean, np.nanmean(values, axis=0), rtol=1e-9)
        np.testing.assert_allclose(result.deviation, np.nanstd(values, axis=0, ddof=1), rtol=1e-7)
        assert result.n.tolist() == [90, np.isfinite(values[:, 1]).sum()]


def test_nobody_has_neither_mean_nor_deviation(rows: Any, summed: Any) -> None:
    result = summed(GroupSums(centre=np.zeros(1)), rows(np.zeros((0, 1))))
    assert np.isnan(result.mean[0])
    assert np.isnan(result.deviation[0])


def test_a_constant_column_has_its_own_mean_and_no_deviation(rows: Any, summed: Any) -> None:
    result = summed(GroupSums(centre=np.array([0.1])), rows(np.full((40, 1), 0.1)))
    assert (result.mean[0], result.deviation[0]) == (0.1, 0.0)


def test_a_site_alone_sends_no_small_cell_and_marks_those_it_withholds(rows: Any) -> None:
    codes = [[0.0, 0.0]] * 2 + [[1.0, np.nan]] * 9 + [[2.0, 0.0]] * 4
    statistic = ProtectedLevelCounts(levels=3, minimum=3)
    result = statistic.finalise(statistic.from_rows(rows(codes)))
    assert result.counts.tolist() == [[0, 9, 0, 0], [6, 0, 0, 9]]
    assert result.hidden.tolist() == [[True, False, True, False], [False] * 4]


@given(
    values=st.lists(st.integers(0, 6), min_size=1, max_size=30),
    minimum=st.integers(2, 8),
)
@settings(max_examples=200)
def test_averaged_values_are_never_those_of_few_and_keep_their_order(
    values: list[int], minimum: int
) -> None:
    before = np.array(values, dtype=np.float64)
    after = averaged(before, minimum)
    assert (np.diff(after[np.argsort(before, kind="stable")]) >= 0).all()
    if before.size >= minimum:
        assert np.unique(after, return_counts=True)[1].min() >= minimum


def test_values_that_enough_patients_share_stay_as_they_are() -> None:
    values = np.repeat([0.0, 2.5, 8.0, 9.0], [5, 7, 1, 6])
    np.testing.assert_array_equal(averaged(values, 5), np.repeat([0.0, 2.5, 9.0], [5, 8, 6]))


def test_few_patients_are_counted_in_the_middle_wherever_they_are(rows: Any) -> None:
    edges = np.array([[-np.inf, 1.0, 2.0, np.inf]])
    statistic = JoinedHistogram(edges=edges, minimum=3)
    assert statistic.from_rows(rows([[0.0], [5.0]]))["counts"].tolist() == [[0, 2, 0]]
