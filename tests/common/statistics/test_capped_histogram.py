from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.statistics.capped_histogram import CappedHistogram, cap_for, share_cells
from common.statistics.histogram import HistogramResult


def cells_of(held: Any, minimum: int) -> tuple[HistogramResult, Any]:
    """Joined cells of one column, and which of the old cells each is made of.

    `held` (sites, cells) are the sites' own counts.
    """
    held = np.asarray(held, dtype=float)
    edges = np.concatenate([[-np.inf], np.arange(1.0, held.shape[1]), [np.inf]])[None]
    whole = HistogramResult(edges=edges, counts=held.sum(axis=0)[None])
    capped = np.minimum(held, cap_for(minimum)).sum(axis=0)[None]
    joined = share_cells(whole, capped, minimum)
    middle = np.arange(held.shape[1]) + 0.5
    return joined, np.searchsorted(joined.edges[0, 1:-1], middle, side="right")


def test_no_site_counts_for_more_than_the_cap(rows: Any, summed: Any) -> None:
    table = rows(np.zeros((50, 1)))
    statistic = CappedHistogram(edges=np.array([[-np.inf, 0.0, np.inf]]), cap=3)
    assert summed(statistic, table, (0.02, 0.04, 0.94)).tolist() == [[0, 1 + 2 + 3]]


def test_a_cell_that_one_site_nearly_holds_is_joined() -> None:
    joined, _ = cells_of([[2, 5, 2], [2, 1, 2], [2, 0, 2]], 3)
    assert joined.counts[0].tolist() == [6, 12]


def test_a_cell_of_one_site_alone_stands() -> None:
    joined, _ = cells_of([[2, 5, 2], [2, 0, 2], [2, 0, 2]], 3)
    assert joined.counts[0].tolist() == [6, 5, 6]


def test_sites_apart_from_each_other_keep_their_cells() -> None:
    joined, _ = cells_of([[6, 6, 0, 0], [0, 0, 6, 6]], 3)
    assert joined.counts[0].tolist() == [6, 6, 6, 6]


def test_what_is_left_over_joins_its_neighbours() -> None:
    joined, _ = cells_of([[2, 5], [2, 1], [2, 0]], 3)
    assert joined.counts[0].tolist() == [12]


@pytest.mark.parametrize("minimum", [0, 1])
def test_nothing_is_joined_where_no_cell_is_small(minimum: int) -> None:
    joined, _ = cells_of([[5, 5], [1, 0], [0, 2]], minimum)
    assert joined.counts[0].tolist() == [6, 7]


@given(
    held=st.lists(st.lists(st.integers(0, 9), min_size=8, max_size=8), min_size=2, max_size=5),
    minimum=st.integers(1, 5),
)
@settings(max_examples=200)
def test_no_site_is_ever_left_with_few_rows_of_others(held: Any, minimum: int) -> None:
    # as merge_cells hands them on, and every site with enough rows in all
    own = np.array(held, dtype=float)
    own = np.column_stack([own, np.full(len(own), float(minimum))])
    own[0] += np.where(own.sum(axis=0) < 5, 5, 0)
    joined, belongs = cells_of(own, minimum)
    assert joined.counts.sum() == own.sum()
    for cell in np.unique(belongs):
        inside = own[:, belongs == cell].sum(axis=1)
        left = inside.sum() - inside
        assert inside.sum() == joined.counts[0, cell]
        assert ((left == 0) | (left >= minimum)).all()


def test_a_site_that_holds_several_hospitals_counts_as_they_would(rows: Any, summed: Any) -> None:
    table = rows(np.random.default_rng(5).normal(size=(90, 4)))
    edges = np.tile([-np.inf, -1.0, 0.0, 1.0, np.inf], (4, 1))
    capped = CappedHistogram(edges=edges, cap=2)
    apart = summed(capped, table, (0.2, 0.5, 0.3))
    origin = np.repeat([0, 1, 2], [18, 45, 27])
    pooled = dataclasses.replace(table, origin=origin)
    np.testing.assert_array_equal(summed(capped, pooled, (1.0,)), apart)
