"""Brier score and net benefit after recalibration, against scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from common.evaluation.calibration_fit import Points, fit_rows
from common.evaluation.recalibration import net_benefit, recalibrated
from common.statistics.base import Rows
from common.statistics.class_histogram import QUANTILES, ClassHistogram, score_edges


def drawn(seed: int, slope: float = 2.0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    label = (rng.random(240) < 0.4).astype(np.float64)
    x = rng.normal(size=240) + 1.2 * label
    return scipy.special.expit(slope * (1.2 * x - 0.4)), label


def exact(p: Any, label: Any, cutoff: float) -> tuple[float, float]:
    called = p >= cutoff
    odds = cutoff / (1 - cutoff)
    benefit = (called & (label > 0.5)).mean() - odds * (called & (label < 0.5)).mean()
    return brier_score_loss(label, p), float(benefit)


@pytest.mark.parametrize("slope", [2.0, -0.5])
def test_rows_match_a_model_refitted_by_scikit_learn(slope: float) -> None:
    p, label = drawn(3, slope)
    rows = Rows(p[:, None], ("model",), label, np.zeros(240, dtype=np.int64))
    before = [np.array([value]) for value in exact(p, label, 0.35)]
    cutoffs = np.array([0.35])
    found = recalibrated([Points.of_rows(p, label)], fit_rows(rows), cutoffs, *before)
    x = scipy.special.logit(p)
    line = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(x[:, None], label)
    large = scipy.optimize.brentq(lambda a: (label - scipy.special.expit(a + x)).sum(), -30, 30)
    for way, again in enumerate(
        (p, scipy.special.expit(large + x), line.predict_proba(x[:, None])[:, 1])
    ):
        brier, benefit = exact(again, label, 0.35)
        assert found.brier[0, way] == pytest.approx(brier, abs=1e-6)
        assert found.net_benefit[0, way] == pytest.approx(benefit, abs=1e-9)


def test_cells_are_close_to_rows() -> None:
    p, label = drawn(5)
    rows = Rows(p[:, None], ("model",), label, np.zeros(240, dtype=np.int64))
    counting = ClassHistogram(edges=score_edges(np.quantile(drawn(6)[0], QUANTILES)[None, :]))
    cells = Points.of_cells(counting.finalise(counting.from_rows(rows)), 0)
    before = [np.array([value]) for value in exact(p, label, 0.4)]
    cutoffs, fit = np.array([0.4]), fit_rows(rows)
    first = recalibrated([cells], fit, cutoffs, *before)
    second = recalibrated([Points.of_rows(p, label)], fit, cutoffs, *before)
    assert first.brier == pytest.approx(second.brier, abs=2e-4)
    assert first.net_benefit == pytest.approx(second.net_benefit, abs=5e-3)


def test_a_model_without_a_fit_or_a_cutoff_of_one_has_no_figures() -> None:
    label = np.repeat([0.0, 1.0], 20)
    p = np.linspace(0.1, 0.9, 40)
    rows = Rows(p[:, None], ("model",), label, np.zeros(40, dtype=np.int64))
    one = np.array([0.1])
    found = recalibrated([Points.of_rows(p, label)], fit_rows(rows), np.array([1.0]), one, one)
    assert np.isnan(found.brier[0, 2])
    assert np.isnan(found.net_benefit).all()
    assert np.isnan(net_benefit(one, one, 40.0, np.array([1.0]))).all()
