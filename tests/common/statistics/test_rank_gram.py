from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from common.statistics.histogram import Histogram, HistogramResult
from common.statistics.rank_gram import RankGram, first_edges, merge_cells, ranks_tell, refine_edges
from server.phases.spearman import greedy_filter


def three_rounds(table: Any, summed: Any, cells: int = 64) -> Any:
    first = summed(Histogram(edges=first_edges(table.p, cells)), table)
    second = summed(Histogram(edges=refine_edges(first, cells)), table)
    merged = merge_cells(second)
    return summed(RankGram(edges=merged.edges, counts=merged.counts), table)


def heavy_tailed(n: int, p: int, seed: int) -> Any:
    random = np.random.default_rng(seed)
    blocks = random.normal(size=(n, p // 6 + 1))
    values = blocks[:, np.arange(p) // 6] + random.uniform(0.1, 1.2, p) * random.normal(size=(n, p))
    values = np.where(np.arange(p) % 3 == 0, np.exp(1.3 * values), values)
    return (values - values.mean(axis=0)) / values.std(axis=0)


def test_correlations_are_close_to_scipy_on_pooled_rows(rows: Any, summed: Any) -> None:
    values = heavy_tailed(300, 60, 0)
    pooled = stats.spearmanr(values).statistic
    assert np.abs(three_rounds(rows(values), summed) - pooled).max() < 0.01


def test_kept_columns_are_nearly_those_of_pooled_ranks(rows: Any, summed: Any) -> None:
    values = heavy_tailed(300, 300, 1)
    names = [f"c{i:04d}" for i in range(300)]
    federated = set(greedy_filter(three_rounds(rows(values), summed), names, 0.9).tolist())
    pooled = set(greedy_filter(stats.spearmanr(values).statistic, names, 0.9).tolist())
    assert len(federated) < 290
    assert len(federated & pooled) / len(federated | pooled) >= 0.97


def test_discrete_columns_with_ties_are_exact(rows: Any, summed: Any) -> None:
    random = np.random.default_rng(2)
    codes = random.integers(0, 4, (200, 6)).astype(float)
    codes[:, 3:] = np.where(random.random((200, 3)) < 0.6, codes[:, :3], codes[:, 3:])
    codes[:, 5] = (codes[:, 5] > 1).astype(float)
    values = (codes - codes.mean(axis=0)) / codes.std(axis=0)
    pooled = stats.spearmanr(values).statistic
    np.testing.assert_allclose(three_rounds(rows(values), summed), pooled, atol=1e-6)


def test_one_site_alone_gets_exact_spearman_whatever_the_cells(rows: Any, summed: Any) -> None:
    values = heavy_tailed(80, 12, 3)
    histogram = summed(Histogram(edges=first_edges(12, 5)), rows(values))
    gram = RankGram(edges=histogram.edges, counts=histogram.counts)
    pooled = stats.spearmanr(values).statistic
    np.testing.assert_allclose(summed(gram, rows(values), (1.0,)), pooled, atol=1e-6)


def test_centred_ranks_of_all_sites_sum_to_zero(rows: Any, summed: Any, sites: Any) -> None:
    values = heavy_tailed(150, 8, 4)
    histogram = summed(Histogram(edges=first_edges(8, 16)), rows(values))
    gram = RankGram(edges=histogram.edges, counts=histogram.counts)
    total = sum(gram.ranks(site).sum(axis=0) for site in sites(rows(values)))
    np.testing.assert_allclose(total, 0.0, atol=1e-10)


def test_constant_column_correlates_only_with_itself(rows: Any, summed: Any) -> None:
    values = np.random.default_rng(5).normal(size=(60, 3))
    values[:, 1] = 0.0
    result = three_rounds(rows(values), summed)
    assert result[1].tolist() == [0.0, 1.0, 0.0]


def test_merged_cells_hold_the_minimum_and_lose_no_row(rows: Any, summed: Any) -> None:
    values = heavy_tailed(200, 10, 6)
    first = summed(Histogram(edges=first_edges(10, 64)), rows(values))
    merged = merge_cells(summed(Histogram(edges=refine_edges(first, 64)), rows(values)), 7)
    assert (merged.counts.sum(axis=1) == 200).all()
    assert merged.counts[merged.counts > 0].min() >= 7
    assert (merged.edges[:, 1:] >= merged.edges[:, :-1]).all()
    again = summed(Histogram(edges=merged.edges), rows(values))
    assert np.array_equal(again.counts, merged.counts)


def test_fewer_rows_than_the_minimum_become_one_cell() -> None:
    few = HistogramResult(edges=np.array([[-np.inf, 0.0, np.inf]]), counts=np.array([[1.0, 2.0]]))
    merged = merge_cells(few, 5)
    assert merged.counts.tolist() == [[3.0]]
    assert merged.edges.tolist() == [[-np.inf, np.inf]]


def test_refined_cells_even_out_a_skewed_column(rows: Any, summed: Any) -> None:
    values = np.exp(2.0 * np.random.default_rng(7).normal(size=(2000, 1)))
    values = (values - values.mean()) / values.std()
    first = summed(Histogram(edges=first_edges(1, 64)), rows(values))
    second = summed(Histogram(edges=refine_edges(first, 64)), rows(values))
    assert second.counts.max() < first.counts.max() / 3


def test_rows_that_the_counts_do_not_know_are_an_error(rows: Any) -> None:
    gram = RankGram(edges=first_edges(1, 2), counts=np.array([[1.0, 0.0]]))
    with pytest.raises(ValueError, match="column c0000 has rows the counts do not know"):
        gram.from_rows(rows([[-1.0], [-2.0]]))


def test_missing_values_are_an_error(rows: Any) -> None:
    gram = RankGram(edges=first_edges(1, 2), counts=np.array([[1.0, 1.0]]))
    with pytest.raises(ValueError, match="column c0000 has missing values"):
        gram.from_rows(rows([[-1.0], [np.nan]]))


def test_normal_scores_of_ranks_give_nearly_the_same_correlations(rows: Any, summed: Any) -> None:
    """Exactly so for normal columns behind any monotone change: rho = 6 / pi asin(r / 2)."""
    values = heavy_tailed(300, 60, 0)
    histogram = summed(Histogram(edges=first_edges(60, 64)), rows(values))
    gram = RankGram(edges=histogram.edges, counts=histogram.counts, normal=True)
    found = summed(gram, rows(values), (1.0,))
    pooled = stats.spearmanr(values).statistic
    assert np.diag(found) == pytest.approx(1.0)
    assert np.abs(found - pooled).max() < 0.06
    far = np.abs(pooled - 0.9) > 0.02
    assert ((np.abs(found) > 0.9) == (np.abs(pooled) > 0.9))[far].all()


def test_ranks_of_few_rows_in_many_columns_may_tell() -> None:
    assert ranks_tell(119, 239)
    assert not ranks_tell(119, 238)
    assert not ranks_tell(120, 5000)
