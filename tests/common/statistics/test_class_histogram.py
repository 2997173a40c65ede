from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.statistics.class_histogram import (
    QUANTILES,
    ClassHistogram,
    ClassHistogramResult,
    merge_class,
    merge_classes,
    score_edges,
)
from common.statistics.scores import THRESHOLDS


def counted(counts: Any, edges: Any = None) -> ClassHistogramResult:
    """A histogram of one column from its counts (2, cells)."""
    held = np.asarray(counts, dtype=np.float64)[None]
    cells = held.shape[2]
    inner = np.arange(1, cells) / cells if edges is None else np.asarray(edges)
    return ClassHistogramResult(
        edges=np.concatenate([[-np.inf], inner, [np.inf]])[None],
        counts=held,
        single=np.zeros((1, cells)),
    )


def test_counts_by_class_match_numpy(rows: Any, summed: Any) -> None:
    random = np.random.default_rng(0)
    scores, labels = random.random((150, 2)), random.integers(0, 2, 150)
    edges = score_edges(np.quantile(scores, QUANTILES, axis=0).T)
    result = summed(ClassHistogram(edges=edges), rows(scores, labels))
    for column in range(2):
        inner = edges[column][np.isfinite(edges[column])]
        bounds = np.concatenate([[0.0], inner, [1.0]])
        for label in (0, 1):
            expected, _ = np.histogram(scores[labels == label, column], bounds)
            assert np.array_equal(result.counts[column, label], expected)


def test_edges_hold_every_threshold_and_quantile_within_zero_and_one() -> None:
    edges = score_edges(np.array([[0.0, 0.2345, 0.2345], [0.111, 0.222, 1.0]]))
    assert np.array_equal(edges[:, [0, -1]], [[-np.inf, np.inf]] * 2)
    assert (np.diff(edges[:, 1:-1]) >= 0)[np.isfinite(np.diff(edges[:, 1:-1]))].all()
    for column, quantiles in enumerate([[0.2345], [0.111, 0.222]]):
        assert np.isin(THRESHOLDS, edges[column]).all()
        assert np.isin(quantiles, edges[column]).all()
        finite = edges[column][np.isfinite(edges[column])]
        assert ((finite > 0) & (finite < 1)).all()


def test_a_repeated_value_is_noticed_and_a_cell_without_pairs_is_like_the_others(
    rows: Any, summed: Any
) -> None:
    # every site has at least two rows of each of the values but the last
    scores = np.concatenate([np.tile([0.05, 0.15, 0.25], 40), [0.95]])[:, None]
    edges = np.concatenate([[-np.inf], np.arange(1, 10) / 10, [np.inf]])[None]
    assert summed(ClassHistogram(edges=edges), rows(scores)).single.all()
    spread = np.random.default_rng(0).random((120, 1))
    assert not summed(ClassHistogram(edges=edges), rows(spread)).single.any()
    mixed = np.concatenate([spread[spread > 0.4], np.full(60, 0.05)])[:, None]
    mixed = np.random.default_rng(1).permutation(mixed)
    single = summed(ClassHistogram(edges=edges), rows(mixed)).single[0]
    assert single[0] == 1.0
    assert not single[4:].any()


@given(
    counts=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=25),
    minimum=st.integers(0, 4),
)
@settings(max_examples=150)
def test_joined_cells_hold_none_or_enough_and_lose_nobody(
    counts: list[tuple[int, int]], minimum: int
) -> None:
    histogram = counted(np.array(counts).T)
    totals = histogram.counts[0].sum(axis=1)
    both = merge_classes(histogram, minimum)
    assert np.array_equal(both.counts[0].sum(axis=1), totals)
    assert set(both.edges[0]) <= {*histogram.edges[0], np.inf}
    if (totals[totals > 0] >= minimum).all():
        assert ((both.counts == 0) | (both.counts >= minimum)).all()
    for label in (0, 1):
        cells = merge_class(histogram, label, minimum)
        held = cells.counts[0]
        assert held.sum() == totals[label]
        assert set(cells.edges[0]) <= {*histogram.edges[0], np.inf}
        if totals[label] >= minimum:
            assert ((held == 0) | (held >= minimum)).all()
        else:
            assert np.count_nonzero(held) <= 1


def test_cells_are_joined_by_halves_and_only_wide_gaps_stay() -> None:
    counts = np.zeros((2, 64))
    counts[0, [0, 1, 3, 30, 34, 60, 61, 62]] = [4, 1, 2, 1, 1, 2, 1, 1]
    cells = merge_class(counted(counts), 0, 3)
    assert cells.counts[0].sum() == 13
    assert ((cells.counts[0] == 0) | (cells.counts[0] >= 3)).all()
    empty = cells.counts[0] == 0
    assert (np.diff(cells.edges[0])[empty] >= 1 / 8).all()


def test_the_part_with_nearly_all_rows_stands_for_a_joined_cell() -> None:
    cells = merge_class(counted([[1, 0, 0, 14, 0, 0], [0] * 6]), 0, 3)
    place = int(np.argmax(cells.counts[0]))
    assert (cells.lower[0, place], cells.upper[0, place]) == pytest.approx((3 / 6, 4 / 6))
    cells = merge_class(counted([[2, 0, 0, 2, 0, 0], [0] * 6]), 0, 3)
    place = int(np.argmax(cells.counts[0]))
    assert (cells.lower[0, place], cells.upper[0, place]) == pytest.approx((0, 1))


def test_edges_for_other_columns_are_an_error(rows: Any) -> None:
    with pytest.raises(ValueError, match="edges"):
        ClassHistogram(edges=np.array([[0.0, 0.5, 1.0]])).from_rows(rows(np.zeros((2, 2))))
