from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from common.evaluation.recorded import MOST_CELLS, Cells, padded, quantiles, recorded_cells
from common.evaluation.table1 import rank_test
from common.statistics.histogram import cell_counts

SHARES = np.array([0.0, 0.25, 0.5, 0.75, 1.0])


def cells_of(values: Any, decimals: int) -> Cells:
    return recorded_cells(len(values), float(np.mean(values)), float(np.std(values)), decimals)


@given(
    values=st.lists(st.integers(-60, 90), min_size=1, max_size=40),
    decimals=st.integers(0, 3),
)
@settings(max_examples=200)
def test_quantiles_of_recorded_values_are_those_of_numpy(values: list[int], decimals: int) -> None:
    recorded = np.round(np.array(values) / 10.0**decimals, decimals)
    cells = cells_of(recorded, decimals)
    counts = cell_counts(recorded, cells.edges)
    assert cells.single
    assert counts[0] == counts[-1] == 0
    assert cells.exact(counts)
    np.testing.assert_allclose(
        quantiles(counts, cells, SHARES), np.quantile(recorded, SHARES), rtol=1e-12, atol=1e-12
    )


def test_rank_tests_on_recorded_values_are_those_of_scipy() -> None:
    rng = np.random.default_rng(1)
    samples = [np.round(rng.gamma(2, 3 + shift, n), 1) for shift, n in ((0, 90), (1, 40), (0, 61))]
    cells = cells_of(np.concatenate(samples), 1)
    counts = np.array([cell_counts(sample, cells.edges) for sample in samples])
    assert cells.exact(counts.sum(axis=0))
    assert rank_test(counts).p == pytest.approx(stats.kruskal(*samples).pvalue, rel=1e-12)
    expected = stats.mannwhitneyu(*samples[:2], method="asymptotic")
    found = rank_test(counts[:2])
    assert (found.statistic, found.p) == pytest.approx(tuple(expected), rel=1e-12)


def test_too_many_values_share_cells_that_reach_six_deviations() -> None:
    rng = np.random.default_rng(2)
    values = np.round(rng.normal(250_000, 60_000, 400))
    cells = cells_of(values, 0)
    counts = cell_counts(values, cells.edges)
    assert cells.edges.size - 1 <= MOST_CELLS
    assert not cells.single and not cells.exact(counts)
    assert cells.edges[1] <= values.mean() - 6 * values.std()
    assert cells.edges[-2] >= values.mean() + 6 * values.std()
    width = cells.edges[2] - cells.edges[1]
    np.testing.assert_allclose(
        quantiles(counts, cells, SHARES[1:-1]), np.quantile(values, SHARES[1:-1]), atol=width
    )


def test_two_values_beyond_the_cells_are_said_not_to_be_exact() -> None:
    values = np.concatenate([np.tile(np.arange(100.0), 20), [2_000.0, 2_100.0]])
    cells = cells_of(values, 0)
    counts = cell_counts(values, cells.edges)
    assert cells.single and counts[-1] == 2
    assert not cells.exact(counts)
    assert quantiles(counts, cells, np.array([0.5]))[0] == np.median(values)
    assert np.isnan(quantiles(counts, cells, np.array([1.0]))[0])


def test_constant_and_absent_values() -> None:
    cells = cells_of(np.full(7, 4.2), 1)
    counts = cell_counts(np.full(7, 4.2), cells.edges)
    assert quantiles(counts, cells, SHARES).tolist() == [4.2] * 5
    assert np.isnan(quantiles(np.zeros(counts.size), cells, SHARES)).all()
    nobody = recorded_cells(0.0, 0.0, 0.0, 0)
    assert nobody.single


def test_padding_adds_cells_that_stay_empty() -> None:
    values = np.array([1.0, 2.0, 2.0, 9.0, 400.0])
    cells = recorded_cells(4, 3.5, 3.0, 0)
    edges = padded(cells.edges, cells.low.size + 5)
    assert edges.size == cells.low.size + 6
    counts = cell_counts(values, edges)
    assert not counts[cells.low.size :].any()
    np.testing.assert_array_equal(counts[: cells.low.size], cell_counts(values, cells.edges))
