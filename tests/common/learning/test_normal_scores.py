from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.preprocessing import QuantileTransformer

from common.learning.normal_scores import knots_of, score_grid
from common.statistics.base import Rows
from common.statistics.histogram import Histogram, HistogramResult
from common.statistics.rank_gram import first_edges, merge_cells, refine_edges
from common.transforms import NormalScores

LIMIT = 3.0
SHAPES = {
    "normal": lambda x: x,
    "skewed": lambda x: np.exp(1.5 * x),
    "left": lambda x: -np.exp(x),
    "heavy": lambda x: stats.t.ppf(stats.norm.cdf(x), 3),
}


def rows_of(values: Any) -> Rows:
    names = tuple(f"x{i}" for i in range(values.shape[1]))
    return Rows(values, names, np.zeros(len(values)), np.zeros(len(values), dtype=np.int64))


def cells_of(z: Any, bins: int = 64) -> HistogramResult:
    """Count cells as a run does: two histograms, small cells joined."""
    rows, edges = rows_of(z), first_edges(z.shape[1], bins)
    for _ in range(2):
        counted = Histogram(edges=edges)
        found = counted.finalise(counted.from_rows(rows))
        edges = refine_edges(found, bins)
    return merge_cells(found, 5)


def scored(z: Any) -> Any:
    rows = rows_of(z)
    knots = knots_of(cells_of(z), LIMIT)
    return NormalScores(rows.columns, knots, score_grid(LIMIT)).apply(rows).values


def columns(shape: str, n: int, p: int = 30) -> Any:
    values = SHAPES[shape](np.random.default_rng(0).standard_normal((n, p)))
    return (values - values.mean(axis=0)) / values.std(axis=0)


@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize(("n", "least"), [(30, 0.85), (300, 0.96)])
def test_scores_are_nearly_those_of_the_exact_ranks(shape: str, n: int, least: float) -> None:
    z = columns(shape, n)
    exact = QuantileTransformer(n_quantiles=n, output_distribution="normal").fit_transform(z)
    exact = np.clip(exact, -LIMIT, LIMIT)
    own = scored(z)
    likeness = [np.corrcoef(a, b)[0, 1] for a, b in zip(own.T, exact.T, strict=True)]
    assert min(likeness) > least
    assert np.abs(own).max() <= LIMIT


@pytest.mark.parametrize("shape", ["skewed", "left"])
def test_one_long_tail_is_drawn_in(shape: str) -> None:
    z = columns(shape, 300)
    clipped = np.abs(stats.skew(np.clip(z, -LIMIT, LIMIT))).mean()
    assert clipped > 1.0
    assert np.abs(stats.skew(scored(z))).mean() < 0.25


@given(
    counts=st.lists(st.integers(0, 20), min_size=1, max_size=8),
    widths=st.lists(st.floats(0.01, 5.0), min_size=9, max_size=9),
)
@settings(max_examples=60)
def test_knots_never_decrease_and_are_finite(counts: list[int], widths: list[float]) -> None:
    edges = np.concatenate([[-np.inf], np.cumsum(widths[: len(counts) - 1]), [np.inf]])
    cells = HistogramResult(edges=edges[None], counts=np.array([counts], dtype=float))
    knots = knots_of(cells, LIMIT)
    assert knots.shape == (1, 31)
    assert np.isfinite(knots).all()
    assert (np.diff(knots) >= 0).all()


def test_an_inner_edge_gets_the_score_of_the_rows_below_it() -> None:
    edges = np.array([[-np.inf, -1.0, 0.5, np.inf]])
    cells = HistogramResult(edges=edges, counts=np.array([[10.0, 20.0, 10.0]]))
    step = NormalScores(("x",), knots_of(cells, LIMIT), score_grid(LIMIT))
    # knots lie 0.2 apart, so an edge between two is met up to a line between them
    expected = stats.norm.ppf([0.25, 0.75])
    assert step.of(edges[:, 1:-1].T).ravel() == pytest.approx(expected, abs=0.05)


def test_a_column_of_one_cell_keeps_its_values_within_the_limit() -> None:
    cells = HistogramResult(edges=np.array([[-np.inf, np.inf]]), counts=np.array([[9.0]]))
    step = NormalScores(("x",), knots_of(cells, LIMIT), score_grid(LIMIT))
    assert step.of(np.array([[-9.0], [0.7], [9.0]])).ravel() == pytest.approx([-3.0, 0.7, 3.0])


@pytest.mark.parametrize(
    "edges",
    [
        [-np.inf, 0.0, 0.0, 0.0, np.inf],
        [-np.inf, 0.0, 0.0, 1.0, np.inf],
        [-np.inf, -1.0, 0.0, 0.0, np.inf],
    ],
)
def test_edges_in_one_place_give_finite_knots_in_order(edges: list[float]) -> None:
    """Simulate a feature that is zero in most patients of a hospital."""
    cells = HistogramResult(edges=np.array([edges]), counts=np.array([[6.0, 6.0, 6.0, 6.0]]))
    knots = knots_of(cells, 3.0)
    assert np.isfinite(knots).all()
    assert (np.diff(knots) >= 0).all()
