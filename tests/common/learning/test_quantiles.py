"""Quantiles from a histogram, beside numpy's on the values."""

from __future__ import annotations

import numpy as np

from common.learning.quantile_cells import probability_quantiles

SHARES = np.arange(1, 20) / 20


def test_quantiles_are_numpys_to_the_width_of_a_cell() -> None:
    random = np.random.default_rng(0)
    values = np.column_stack([random.random(500), random.beta(2, 8, 500)])
    edges = np.tile(np.linspace(0, 1, 101), (2, 1))
    counts = np.array([np.histogram(v, e)[0] for v, e in zip(values.T, edges, strict=True)])
    expected = np.quantile(values, SHARES, axis=0).T
    np.testing.assert_allclose(probability_quantiles(edges, counts, SHARES), expected, atol=0.01)


def test_a_single_cell_is_taken_as_evenly_filled() -> None:
    counts = np.array([[0.0, 12.0, 0.0]])
    edges = np.array([[-np.inf, 0.4, 0.6, np.inf]])
    found = probability_quantiles(edges, counts, np.array([0.25, 0.5]))
    np.testing.assert_allclose(found, [[0.45, 0.5]])


def test_open_cells_reach_to_zero_and_one() -> None:
    edges, counts = np.array([[-np.inf, 0.5, np.inf]]), np.array([[5.0, 5.0]])
    found = probability_quantiles(edges, counts, np.array([0.25, 0.5, 0.75]))
    np.testing.assert_allclose(found, [[0.25, 0.5, 0.75]])
