from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from common.statistics.placements import ClassHistogram, Placements


def direct(scores: Any, labels: Any) -> tuple[Any, Any]:
    """DeLong by comparing every positive with every negative."""
    high, low = scores[labels > 0.5], scores[labels < 0.5]
    psi = (high[:, None] > low[None]) + 0.5 * (high[:, None] == low[None])
    v10, v01 = psi.mean(axis=1), psi.mean(axis=0)
    s10, s01 = np.cov(v10.T, ddof=1), np.cov(v01.T, ddof=1)
    return psi.mean(axis=(0, 1)), np.atleast_2d(s10 / len(high) + s01 / len(low))


def example(n: int, k: int, seed: int, digits: int | None = None) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    labels = (random.random(n) < 0.4).astype(float)
    logits = (labels[:, None] - 0.4) * random.uniform(0.5, 2.5, k) + random.normal(size=(n, k))
    scores = 1 / (1 + np.exp(-logits))
    return (scores if digits is None else np.round(scores, digits)), labels


def two_rounds(table: Any, summed: Any, cells: int, shares: Any = None) -> Any:
    edges = np.linspace(0, 1, cells + 1)
    kw = {} if shares is None else {"shares": shares}
    counts = summed(ClassHistogram(edges=edges), table, **kw).counts
    return summed(Placements(edges=edges, counts=counts), table, **kw)


@pytest.mark.parametrize("digits", [None, 2, 1])
@pytest.mark.parametrize("cells", [1, 20])
def test_one_site_alone_is_classical_delong(
    rows: Any, summed: Any, digits: int | None, cells: int
) -> None:
    scores, labels = example(90, 3, 0, digits)
    edges = np.linspace(0, 1, cells + 1)
    histogram, table = ClassHistogram(edges=edges), rows(scores, labels)
    counts = histogram.from_rows(table)["counts"]
    statistic = Placements(edges=edges, counts=counts)
    result = statistic.finalise(statistic.from_rows(table))
    auc, covariance = direct(scores, labels)
    np.testing.assert_allclose(result.auc, auc, atol=1e-12)
    np.testing.assert_allclose(result.covariance, covariance, atol=1e-12)
    assert (result.n, result.positives) == (90, int(labels.sum()))


def test_four_sites_come_close_to_pooled_rows(rows: Any, summed: Any) -> None:
    gaps = []
    for seed in range(6):
        scores, labels = example(300, 4, seed)
        result = two_rounds(rows(scores, labels), summed, 100)
        auc, covariance = direct(scores, labels)
        gaps.extend(np.abs(result.auc - auc))
        deviation, expected = np.sqrt(np.diag(result.covariance)), np.sqrt(np.diag(covariance))
        np.testing.assert_allclose(deviation, expected, rtol=0.015)
        assert result.auc[0] == pytest.approx(roc_auc_score(labels, scores[:, 0]), abs=1.5e-3)
    assert np.mean(gaps) < 5e-4
    assert np.max(gaps) < 1.5e-3


def test_scores_on_the_grid_are_exact_over_any_sites(rows: Any, summed: Any) -> None:
    scores, labels = example(200, 3, 1, digits=1)
    edges = np.linspace(-0.05, 1.05, 12)
    table = rows(scores, labels)
    counts = summed(ClassHistogram(edges=edges), table).counts
    result = summed(Placements(edges=edges, counts=counts), table)
    auc, covariance = direct(scores, labels)
    np.testing.assert_allclose(result.auc, auc, atol=1e-10)
    np.testing.assert_allclose(result.covariance, covariance, atol=1e-10)


def test_ties_everywhere_give_one_half_and_no_variance(rows: Any, summed: Any) -> None:
    labels = np.arange(40) % 2
    result = two_rounds(rows(np.full((40, 1), 0.3), labels), summed, 8)
    assert result.auc[0] == pytest.approx(0.5)
    assert result.covariance[0, 0] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_gives_nan(rows: Any, summed: Any, label: float) -> None:
    result = two_rounds(rows(np.full((20, 2), 0.5), np.full(20, label)), summed, 4)
    assert np.isnan(result.auc).all()
    assert np.isnan(result.covariance).all()


def test_single_positive_has_an_area_but_no_variance(rows: Any, summed: Any) -> None:
    labels = np.zeros(20)
    labels[4] = 1
    result = two_rounds(rows(np.linspace(0, 0.99, 20)[:, None], labels), summed, 100)
    assert result.auc[0] == pytest.approx(4 / 19)
    assert np.isnan(result.covariance[0, 0])


def test_zero_rows_give_nan(rows: Any, summed: Any) -> None:
    assert np.isnan(two_rounds(rows(np.zeros((0, 2))), summed, 4).auc).all()


def test_scores_that_the_counts_do_not_know_are_an_error(rows: Any) -> None:
    statistic = Placements(edges=np.array([0.0, 0.5, 1.0]), counts=np.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match="do not know"):
        statistic.from_rows(rows([[0.2]], [1.0]))
