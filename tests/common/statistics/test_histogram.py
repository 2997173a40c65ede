from __future__ import annotations

from typing import Any

import numpy as np

from common.statistics.histogram import Histogram, cell_of


def test_counts_match_numpy_inside_the_edges(rows: Any, summed: Any) -> None:
    random = np.random.default_rng(0)
    values = random.uniform(0.001, 0.999, (200, 5))
    edges = np.sort(random.random((5, 9)), axis=1)
    edges[:, 0], edges[:, -1] = 0.0, 1.0
    result = summed(Histogram(edges=edges), rows(values))
    for column in range(5):
        expected, _ = np.histogram(values[:, column], bins=edges[column])
        assert np.array_equal(result.counts[column], expected)


def test_an_edge_belongs_to_the_cell_it_opens() -> None:
    edges = np.array([-np.inf, 1.0, 2.0, np.inf])
    assert cell_of(np.array([0.9, 1.0, 1.9, 2.0, 99.0]), edges).tolist() == [0, 1, 1, 2, 2]


def test_values_beyond_finite_edges_fall_in_the_end_cells(rows: Any, summed: Any) -> None:
    edges = np.array([[0.0, 0.5, 1.0]])
    assert summed(Histogram(edges=edges), rows([[-5.0], [5.0], [np.nan]])).counts.tolist() == [
        [1.0, 1.0]
    ]


def test_equal_edges_make_an_empty_cell(rows: Any, summed: Any) -> None:
    edges = np.array([[0.0, 1.0, 1.0, 2.0]])
    values = np.array([[0.5], [1.0], [1.5]])
    assert summed(Histogram(edges=edges), rows(values)).counts.tolist() == [[1.0, 0.0, 2.0]]
