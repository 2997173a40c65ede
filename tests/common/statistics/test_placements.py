"""Areas and covariances over sites against comparing every positive with every negative."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.statistics.base import add, zeros
from common.statistics.class_histogram import (
    QUANTILES,
    ClassHistogram,
    ClassHistogramResult,
    merge_class,
    score_edges,
)
from common.statistics.placements import Placements


def direct(scores: Any, labels: Any) -> tuple[Any, Any]:
    """DeLong by comparing every positive with every negative."""
    high, low = scores[labels > 0.5], scores[labels < 0.5]
    psi = (high[:, None] > low[None]) + 0.5 * (high[:, None] == low[None])
    v10, v01 = psi.mean(axis=1), psi.mean(axis=0)
    s10, s01 = np.cov(v10.T, ddof=1), np.cov(v01.T, ddof=1)
    return psi.mean(axis=(0, 1)), np.atleast_2d(s10 / len(high) + s01 / len(low))


def labels_and_logits(seed: int, n: int = 300) -> tuple[Any, Any]:
    """About 30 % positives; a logit of each row, with a shift of its site."""
    random = np.random.default_rng(seed)
    labels = (random.random(n) < 0.3).astype(float)
    site = np.searchsorted(np.array([0.12, 0.5, 0.8]) * n, np.arange(n), side="right")
    shift = 0.3 * random.normal(size=4)
    return random.normal(size=n) + 1.2 * labels + shift[site], labels


def sigmoid(logits: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-logits))


SHAPES: dict[str, Any] = {
    "spread": lambda z: sigmoid(1.3 * z - 1.3),
    "crowded": lambda z: 0.2 + 0.15 * sigmoid(1.5 * z - 1.0),
    "bimodal": lambda z: sigmoid(6.0 * z - 4.0),
    "rounded": lambda z: np.round(0.2 + 0.15 * sigmoid(1.5 * z - 1.0), 3),
    "two decimals": lambda z: np.round(sigmoid(1.3 * z - 1.3), 2),
    "steps": lambda z: np.floor(sigmoid(1.3 * z - 1.3) * 24) / 24 + 0.011,
}


def example(n: int, k: int, seed: int, digits: int | None = None) -> tuple[Any, Any]:
    """Scores of k models on the same rows."""
    random = np.random.default_rng(seed)
    labels = (random.random(n) < 0.4).astype(float)
    logits = (labels[:, None] - 0.4) * random.uniform(0.5, 2.5, k) + random.normal(size=(n, k))
    scores = sigmoid(logits)
    return (scores if digits is None else np.round(scores, digits)), labels


def placements(histogram: ClassHistogramResult, minimum: int = 3) -> Placements:
    return Placements(
        edges=histogram.edges,
        single=histogram.single,
        negatives=merge_class(histogram, 0, minimum),
        positives=merge_class(histogram, 1, minimum),
    )


def two_rounds(table: Any, summed: Any, edges: Any = None, **kw: Any) -> Any:
    edges = score_edges(np.zeros((table.p, 0))) if edges is None else edges
    return summed(placements(summed(ClassHistogram(edges=edges), table, **kw)), table, **kw)


@pytest.mark.parametrize("digits", [None, 2, 1])
@pytest.mark.parametrize("quantiles", [0, 1, 20])
def test_one_site_alone_is_classical_delong(rows: Any, digits: int | None, quantiles: int) -> None:
    scores, labels = example(90, 3, 0, digits)
    edges = score_edges(np.tile(np.linspace(0.2, 0.8, quantiles), (3, 1)))
    histogram, table = ClassHistogram(edges=edges), rows(scores, labels)
    statistic = placements(histogram.finalise(histogram.from_rows(table)))
    result = statistic.finalise(statistic.from_rows(table))
    auc, covariance = direct(scores, labels)
    np.testing.assert_allclose(result.auc, auc, atol=1e-12)
    np.testing.assert_allclose(result.covariance, covariance, atol=1e-12)
    assert (result.n, result.positives) == (90, int(labels.sum()))


@pytest.mark.parametrize("shape", SHAPES)
def test_four_unequal_sites_come_close_to_pooled_rows(rows: Any, summed: Any, shape: str) -> None:
    gaps, ratios = [], []
    for seed in range(20):
        training, _ = labels_and_logits(1000 + seed, 400)
        quantiles = np.quantile(np.round(SHAPES[shape](training), 3), QUANTILES)[None]
        logits, labels = labels_and_logits(seed)
        scores = SHAPES[shape](logits)[:, None]
        result = two_rounds(rows(scores, labels), summed, score_edges(quantiles))
        auc, covariance = direct(scores, labels)
        gaps.append(abs(result.auc[0] - auc[0]))
        ratios.append(abs(np.sqrt(result.covariance[0, 0] / covariance[0, 0]) - 1.0))
    assert max(gaps) < 1.5e-3
    assert np.mean(gaps) < 4e-4
    assert np.mean(ratios) < 8e-3
    assert max(ratios) < 0.03


@pytest.mark.parametrize("scale", [20, 30, 50])
def test_models_that_are_very_sure_come_close_to_pooled_rows(
    rows: Any, summed: Any, scale: int
) -> None:
    # at these scales a twentieth to a fifth of the probabilities are rounded to 1
    gaps, ratios = [], []
    for seed in range(20):
        training, _ = labels_and_logits(1000 + seed, 400)
        quantiles = np.quantile(np.round(sigmoid(scale * (training - 0.5)), 3), QUANTILES)[None]
        logits, labels = labels_and_logits(seed)
        scores = sigmoid(scale * (logits - 0.5))[:, None]
        result = two_rounds(rows(scores, labels), summed, score_edges(quantiles))
        auc, covariance = direct(scores, labels)
        gaps.append(abs(result.auc[0] - auc[0]))
        ratios.append(abs(np.sqrt(result.covariance[0, 0] / covariance[0, 0]) - 1.0))
    assert np.mean(gaps) < 2e-3
    assert max(gaps) < 5e-3
    assert np.mean(ratios) < 0.02


def test_paired_covariances_come_close_to_pooled_rows(rows: Any, summed: Any) -> None:
    scores, labels = example(300, 4, 3)
    edges = score_edges(np.quantile(scores, QUANTILES, axis=0).T)
    result = two_rounds(rows(scores, labels), summed, edges)
    auc, covariance = direct(scores, labels)
    np.testing.assert_allclose(result.auc, auc, atol=1e-3)
    deviation = np.sqrt(np.diag(covariance))
    scale = np.outer(deviation, deviation)
    np.testing.assert_allclose(result.covariance / scale, covariance / scale, atol=0.03)


def test_scores_on_the_grid_are_exact_over_any_sites(rows: Any, summed: Any) -> None:
    # six values, each held by at least three rows of both classes
    random = np.random.default_rng(1)
    scores = random.integers(2, 8, (300, 3)) / 10
    labels = (random.random(300) < scores.mean(axis=1)).astype(float)
    result = two_rounds(rows(scores, labels), summed)
    auc, covariance = direct(scores, labels)
    np.testing.assert_allclose(result.auc, auc, atol=1e-10)
    np.testing.assert_allclose(result.covariance, covariance, atol=1e-10)


def test_ties_everywhere_give_one_half_and_no_variance(rows: Any, summed: Any) -> None:
    labels = np.arange(40) % 2
    for value in (0.0, 0.3, 0.305, 1.0):
        result = two_rounds(rows(np.full((40, 1), value), labels), summed)
        assert result.auc[0] == pytest.approx(0.5, abs=1e-10)
        assert result.covariance[0, 0] == pytest.approx(0.0, abs=1e-12)


def test_perfect_separation_gives_one_and_its_reverse_zero(rows: Any, summed: Any) -> None:
    random = np.random.default_rng(0)
    labels = (random.random(80) < 0.4).astype(float)
    scores = 0.4 * random.random(80) + 0.55 * labels
    result = two_rounds(rows(np.column_stack([scores, 1.0 - scores]), labels), summed)
    np.testing.assert_allclose(result.auc, [1.0, 0.0], atol=1e-10)
    np.testing.assert_allclose(np.diag(result.covariance), 0.0, atol=1e-12)


def test_a_site_without_rows_of_a_class_and_an_empty_one_take_part(rows: Any) -> None:
    scores, labels = example(200, 1, 5)
    owner = np.where(labels > 0.5, np.arange(200) % 2, np.arange(200) % 3)
    parts = [rows(scores[owner == site], labels[owner == site]) for site in range(4)]
    assert parts[2].label.sum() == parts[3].n == 0
    statistic: Any = ClassHistogram(edges=score_edges(np.zeros((1, 0))))
    for build in (placements, lambda result: result):
        total = zeros(statistic.shapes(1))
        for part in parts:
            total = add(total, statistic.from_rows(part))
        statistic = build(statistic.finalise(total))
    auc, covariance = direct(scores, labels)
    assert statistic.auc[0] == pytest.approx(auc[0], abs=1e-3)
    assert statistic.covariance[0, 0] == pytest.approx(covariance[0, 0], rel=0.02)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_gives_nan(rows: Any, summed: Any, label: float) -> None:
    result = two_rounds(rows(np.full((20, 2), 0.5), np.full(20, label)), summed)
    assert np.isnan(result.auc).all()
    assert np.isnan(result.covariance).all()
    assert (result.n, result.positives) == (20, 20 * label)


def test_single_positive_has_an_area_but_no_variance(rows: Any) -> None:
    labels = np.zeros(20)
    labels[4] = 1
    table = rows(np.linspace(0, 0.99, 20)[:, None], labels)
    histogram = ClassHistogram(edges=score_edges(np.zeros((1, 0))))
    statistic = placements(histogram.finalise(histogram.from_rows(table)), 0)
    result = statistic.finalise(statistic.from_rows(table))
    assert result.auc[0] == pytest.approx(4 / 19)
    assert np.isnan(result.covariance[0, 0])


def test_zero_rows_give_nan(rows: Any, summed: Any) -> None:
    assert np.isnan(two_rounds(rows(np.zeros((0, 2))), summed).auc).all()


def test_scores_that_the_counts_do_not_know_are_an_error(rows: Any) -> None:
    histogram = ClassHistogram(edges=np.array([[-np.inf, 0.5, np.inf]]))
    statistic = placements(histogram.finalise(histogram.from_rows(rows(np.zeros((0, 1))))))
    with pytest.raises(ValueError, match="do not know"):
        statistic.from_rows(rows([[0.2]], [1.0]))
