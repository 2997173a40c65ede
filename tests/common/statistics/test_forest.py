"""Node counts: what they count, and that bootstrap weights belong to the row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from common.statistics.base import Rows
from common.statistics.forest import NodeCounts, bootstrap_weights, reached

EDGES = np.tile(np.concatenate([[-np.inf], np.arange(1, 5) / 5.0, [np.inf]]), (2, 1))


def counts_of(draw: Any, excluded: Any) -> NodeCounts:
    """Roots split on column 0 at 0.4, both children asked about both columns."""
    trees = len(draw)
    feature, threshold = np.full((trees, 3), -1), np.zeros((trees, 3))
    feature[:, 0], threshold[:, 0] = 0, 0.4
    return NodeCounts(
        edges=EDGES,
        feature=feature,
        threshold=threshold,
        excluded=np.array(excluded),
        draw=np.array(draw),
        seed=5,
        tree=np.repeat(np.arange(trees), 4),
        node=np.tile([1, 1, 2, 2], trees),
        column=np.tile([0, 1, 0, 1], trees),
    )


def random_rows(n: int, seed: int) -> Rows:
    random = np.random.default_rng(seed)
    return Rows(
        values=random.random((n, 2)),
        columns=("a", "b"),
        label=(random.random(n) < 0.4).astype(float),
        fold=random.integers(-1, 3, n),
    )


def taken(rows: Rows, index: Any) -> Rows:
    return Rows(rows.values[index], rows.columns, rows.label[index], rows.fold[index])


def test_nodes_are_reached_as_by_hand() -> None:
    feature = np.array([[0, -1, 1], [-1, -1, -1]])
    threshold = np.array([[0.5, 0.0, 0.2], [0.0, 0.0, 0.0]])
    values = np.array([[0.4, 0.9], [0.5, 0.1], [0.9, 0.2]])
    assert reached(values, feature, threshold).tolist() == [[1, 0], [5, 0], [6, 0]]


def test_counts_are_numpys_histograms_of_the_rows_of_a_node() -> None:
    rows = random_rows(200, 0)
    counts = counts_of([-1, -1], [-1, 2]).from_rows(rows)["counts"]
    position = 0
    for fold in (-1, 2):
        seen = (rows.fold >= 0) & (rows.fold != fold)
        for right in (False, True):
            inside = seen & ((rows.values[:, 0] >= 0.4) == right)
            for column in (0, 1):
                for label in (0, 1):
                    own = rows.values[inside & (rows.label == label), column]
                    expected = np.histogram(own, bins=5, range=(0, 1))[0]
                    assert counts[position, label].tolist() == expected.tolist()
                position += 1


def test_a_draw_counts_each_row_as_often_as_it_weighs() -> None:
    rows = random_rows(80, 1)
    used = taken(rows, rows.fold >= 0)
    weights = bootstrap_weights(used, 5, 3)
    repeated = taken(used, np.repeat(np.arange(used.n), weights[:, 2]))
    drawn = counts_of([2], [-1]).from_rows(rows)["counts"]
    np.testing.assert_array_equal(drawn, counts_of([-1], [-1]).from_rows(repeated)["counts"])


def test_weights_are_poisson_and_draws_are_unrelated() -> None:
    weights = bootstrap_weights(random_rows(4000, 2), 9, 5)
    seen = np.bincount(weights.ravel(), minlength=8)
    expected = stats.poisson.pmf(np.arange(7), 1.0) * weights.size
    observed = np.append(seen[:6], seen[6:].sum())
    expected[6] = weights.size - expected[:6].sum()
    assert stats.chisquare(observed, expected).pvalue > 1e-3
    assert np.abs(np.corrcoef(weights.T) - np.eye(5)).max() < 0.06


def test_weights_change_with_seed_label_and_fold_but_not_with_rounding() -> None:
    rows = random_rows(50, 3)
    weights = bootstrap_weights(rows, 1, 20)
    nudged = Rows(rows.values + 1e-15, rows.columns, rows.label, rows.fold)
    assert np.array_equal(bootstrap_weights(nudged, 1, 20), weights)
    others = (
        bootstrap_weights(rows, 2, 20),
        bootstrap_weights(Rows(rows.values, rows.columns, 1 - rows.label, rows.fold), 1, 20),
        bootstrap_weights(Rows(rows.values, rows.columns, rows.label, rows.fold + 1), 1, 20),
    )
    assert all((other != weights).any(axis=1).all() for other in others)


@given(
    owner=st.lists(st.integers(0, 3), min_size=40, max_size=40),
    draws=st.lists(st.integers(-1, 6), min_size=1, max_size=4),
    fold=st.integers(-1, 2),
)
@settings(max_examples=25)
def test_any_split_of_the_rows_gives_the_same_sum_exactly(
    owner: list[int], draws: list[int], fold: int
) -> None:
    rows = random_rows(40, 4)
    statistic = counts_of(draws, [fold] * len(draws))
    parts = [statistic.from_rows(taken(rows, np.array(owner) == s))["counts"] for s in range(4)]
    assert np.array_equal(np.sum(parts, axis=0), statistic.from_rows(rows)["counts"])


def test_trees_that_do_not_fit_into_memory_together_count_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, statistic = random_rows(30, 5), counts_of([0, 1, 2, 3, -1], [-1, 0, 1, 2, 2])
    whole = statistic.from_rows(rows)["counts"]
    monkeypatch.setattr("common.statistics.forest.PAIRS_AT_ONCE", 60)
    np.testing.assert_array_equal(statistic.from_rows(rows)["counts"], whole)


def test_rows_without_a_fold_may_lack_values_but_others_may_not() -> None:
    rows = random_rows(30, 6)
    statistic = counts_of([-1], [-1])
    expected = statistic.from_rows(rows)["counts"]
    rows.values[rows.fold < 0] = np.nan
    np.testing.assert_array_equal(statistic.from_rows(rows)["counts"], expected)
    rows.values[rows.fold >= 0, 1] = np.nan
    with pytest.raises(ValueError, match="column b has missing values"):
        statistic.from_rows(rows)
