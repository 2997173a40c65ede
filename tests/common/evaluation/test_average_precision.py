"""Average precision, against scikit-learn, and the coverage of its interval."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from common.evaluation.average_precision import (
    average_precision,
    precision_error,
    precision_interval,
)
from common.evaluation.calibration_fit import Points
from common.statistics.base import Rows
from common.statistics.class_histogram import QUANTILES, ClassHistogram, score_edges


def test_scores_without_ties_match_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    for n in (10, 50, 300):
        scores, label = rng.random(n), (rng.random(n) < 0.3).astype(float)
        label[:2] = 0.0, 1.0
        found = average_precision(Points.of_rows(scores, label))
        assert found == pytest.approx(average_precision_score(label, scores), abs=1e-12)


def test_equal_scores_count_as_any_order_does_on_average() -> None:
    label = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    rng = np.random.default_rng(2)
    tied = average_precision(Points.of_rows(np.full(7, 0.5), label))
    orders = [average_precision_score(label, rng.permutation(7)) for _ in range(4000)]
    assert tied == pytest.approx(np.mean(orders), abs=0.015)


def test_cells_are_close_to_rows() -> None:
    rng = np.random.default_rng(3)
    label = (rng.random(300) < 0.4).astype(float)
    scores = 1 / (1 + np.exp(-(rng.normal(size=300) + 1.4 * label - 0.8)))
    counting = ClassHistogram(edges=score_edges(np.quantile(scores, QUANTILES)[None, :]))
    rows = Rows(scores[:, None], ("model",), label, np.zeros(300, dtype=np.int64))
    cells = Points.of_cells(counting.finalise(counting.from_rows(rows)), 0)
    exact = average_precision_score(label, scores)
    assert average_precision(cells) == pytest.approx(exact, abs=3e-3)
    of_rows = precision_error(Points.of_rows(scores, label))
    assert precision_error(cells) == pytest.approx(of_rows, rel=0.05)


def test_the_error_is_that_of_drawing_patients_of_each_class_again() -> None:
    rng = np.random.default_rng(6)
    label = (np.arange(160) < 60).astype(float)
    scores = 1 / (1 + np.exp(-(rng.normal(size=160) + 1.5 * label)))
    drawn = []
    for _ in range(600):
        rows = np.concatenate([rng.integers(0, 60, 60), rng.integers(60, 160, 100)])
        drawn.append(average_precision_score(label[rows], scores[rows]))
    assert precision_error(Points.of_rows(scores, label)) == pytest.approx(np.std(drawn), rel=0.1)
    assert np.isnan(precision_error(Points.of_rows(scores[:61], label[:61])))


def test_one_class_has_no_precision_and_a_perfect_one_an_interval_of_some_width() -> None:
    assert np.isnan(average_precision(Points.of_rows(np.array([0.2, 0.4]), np.ones(2))))
    assert np.isnan(precision_interval(float("nan"), 0.1, 10)).all()
    low, high = precision_interval(1.0, 0.0, 20)
    assert 0.6 < low < 0.95
    assert high == 1.0


def test_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)

    def draw(n: int) -> Points:
        label = (np.arange(n) < 0.4 * n).astype(float)
        return Points.of_rows(1 / (1 + np.exp(-rng.normal(size=n) - 1.8 * label)), label)

    truth = np.mean([average_precision(draw(20_000)) for _ in range(5)])
    held = []
    for _ in range(400):
        points = draw(120)
        low, high = precision_interval(average_precision(points), precision_error(points), 48)
        held.append(low <= truth <= high)
    assert 0.92 < np.mean(held) < 0.98
