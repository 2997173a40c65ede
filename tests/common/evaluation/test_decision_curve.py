from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from common.evaluation.decision_curve import decision_curve
from common.statistics.base import Rows
from common.statistics.scores import DecisionCounts


def counted(scores: Any, labels: Any) -> Any:
    rows = Rows(
        values=scores[:, None], columns=("m",), label=labels, fold=np.zeros(len(labels), np.int64)
    )
    return DecisionCounts().finalise(DecisionCounts().from_rows(rows))


def test_net_benefit_matches_its_definition_at_every_threshold() -> None:
    random = np.random.default_rng(0)
    labels = (random.random(120) < 0.35).astype(float)
    scores = np.round(np.clip(0.3 * labels + 0.7 * random.random(120), 0, 1), 2)
    curve = decision_curve(counted(scores, labels), 0)
    for index, t in enumerate(curve.threshold):
        called = scores >= t
        benefit = np.mean(called & (labels > 0)) - np.mean(called & (labels < 1)) * t / (1 - t)
        assert curve.model[index] == pytest.approx(benefit, abs=1e-12)
        everyone = labels.mean() - (1 - labels.mean()) * t / (1 - t)
        assert curve.treat_all[index] == pytest.approx(everyone, abs=1e-12)


def test_interval_is_that_of_a_mean_over_patients() -> None:
    random = np.random.default_rng(1)
    labels = (random.random(150) < 0.35).astype(float)
    scores = np.clip(0.3 * labels + 0.7 * random.random(150), 0, 1)
    curve = decision_curve(counted(scores, labels), 0)
    for index, t in enumerate(curve.threshold):
        called = scores >= t
        value = np.where(called, np.where(labels > 0, 1.0, -t / (1 - t)), 0.0)
        half = 1.959964 * value.std() / np.sqrt(150)
        assert curve.high[index] - curve.model[index] == pytest.approx(half, abs=1e-6)
        assert curve.model[index] - curve.low[index] == pytest.approx(half, abs=1e-6)


def test_interval_holds_the_true_net_benefit_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    cut = 0.4
    held = []
    for _ in range(400):
        labels = (random.random(120) < 0.4).astype(float)
        scores = 1 / (1 + np.exp(-(random.normal(size=120) + 1.2 * labels - 1.0)))
        curve = decision_curve(counted(scores, labels), 0)
        place = np.log(cut / (1 - cut)) + 1.0
        sure, false = stats.norm.sf(place - 1.2), stats.norm.sf(place)
        truth = 0.4 * sure - 0.6 * false * cut / (1 - cut)
        held.append(curve.low[39] <= truth <= curve.high[39])
    assert 0.92 < np.mean(held) < 0.98


def test_treating_all_crosses_zero_at_the_prevalence() -> None:
    curve = decision_curve(counted(np.full(50, 0.99), np.repeat([0.0, 1.0], [30, 20])), 0)
    np.testing.assert_allclose(curve.model, curve.treat_all, atol=1e-12)
    assert curve.treat_all[39] == pytest.approx(0.0, abs=1e-12)


def test_no_rows_are_an_error() -> None:
    with pytest.raises(ValueError, match="needs rows"):
        decision_curve(counted(np.zeros(0), np.zeros(0)), 0)
