from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from common.statistics.base import Rows
from common.statistics.fold_histogram import FoldHistogram, Support
from common.statistics.rank_gram import first_edges

HALVES = np.array([[-np.inf, 0.5, np.inf]])


def test_counts_are_numpys_in_every_fold(rows: Any, summed: Any) -> None:
    random = np.random.default_rng(0)
    values, fold = random.normal(size=(90, 3)), random.integers(-1, 4, 90)
    edges = first_edges(3, 6)
    result = summed(FoldHistogram(folds=4, edges=edges), rows(values, fold=fold))
    inner = np.concatenate([[-99.0], edges[0, 1:-1], [99.0]])
    for k in range(4):
        for column in range(3):
            expected, _ = np.histogram(values[fold == k, column], inner)
            assert result.counts[k, column].tolist() == expected.tolist()


def test_rows_apart_from_the_usual_value_are_counted_by_fold(rows: Any, summed: Any) -> None:
    flag = np.zeros((20, 1))
    flag[[0, 5, 7]] = 1.0  # folds 0, 0 and 2
    support = summed(FoldHistogram(folds=5, edges=HALVES), rows(flag)).support()
    assert support.apart[:, 0].tolist() == [2, 0, 1, 0, 0]
    assert (support.low[0], support.high[0]) == (-np.inf, 0.5)


def test_what_is_usual_may_be_the_upper_value(rows: Any, summed: Any) -> None:
    flag = np.ones((20, 1))
    flag[3] = 0.0
    support = summed(FoldHistogram(folds=5, edges=HALVES), rows(flag)).support()
    assert support.apart[:, 0].tolist() == [0, 0, 0, 1, 0]
    assert (support.low[0], support.high[0]) == (0.5, np.inf)


def test_an_unknown_fold_and_missing_values_are_errors(rows: Any) -> None:
    statistic = FoldHistogram(folds=3, edges=HALVES)
    with pytest.raises(ValueError, match="fold 4 of 3"):
        statistic.from_rows(rows(np.zeros((5, 1))))
    with pytest.raises(ValueError, match="column c0000 has missing values"):
        statistic.from_rows(rows([[np.nan]]))


@given(
    values=arrays.arrays(np.float64, (12, 2), elements=st.floats(-5, 5)),
    limit=st.floats(0.1, 4.0),
    cells=st.integers(2, 8),
)
@settings(max_examples=60)
def test_clipping_never_puts_a_row_outside_that_was_inside(
    values: Any, limit: float, cells: int
) -> None:
    def table(x: Any) -> Rows:
        return Rows(x, ("a", "b"), np.zeros(12), np.zeros(12, dtype=np.int64))

    statistic = FoldHistogram(folds=1, edges=first_edges(2, cells))
    support = statistic.finalise(statistic.from_rows(table(values))).support()
    assert np.array_equal(support.of(table(values), 1), support.apart)
    ends = np.full(2, limit)
    clipped = table(np.clip(values, -limit, limit))
    assert (support.limited(-ends, ends).of(clipped, 1) <= support.apart).all()


def test_a_support_is_narrowed_with_its_columns() -> None:
    support = Support(low=np.arange(3.0), high=np.arange(3.0) + 1, apart=np.eye(3)[:2])
    small = support.narrow(np.array([2, 0]))
    assert small.low.tolist() == [2, 0]
    assert small.apart.tolist() == [[0, 1], [0, 0]]
