"""The band of a ROC curve."""

from __future__ import annotations

import numpy as np

from client.report.roc import RESAMPLES, SEED, band
from common.evaluation.roc import roc_points

GRID = np.linspace(0.0, 1.0, 101)


def made_up(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    labels = (np.arange(n) % 3 == 0).astype(float)
    return rng.normal(size=n) + labels, labels


def test_the_band_is_that_of_curves_of_drawn_patients() -> None:
    scores, labels = made_up(60)
    positive, negative = scores[labels == 1], scores[labels == 0]
    random = np.random.default_rng(SEED)
    drawn = []
    for _ in range(RESAMPLES):
        ups = random.choice(positive, positive.size)
        downs = random.choice(negative, negative.size)
        curve = roc_points(np.r_[ups, downs], np.r_[np.ones(ups.size), np.zeros(downs.size)])
        # the highest sensitivity that costs no more false alarms than asked for
        last = np.searchsorted(curve.fpr, GRID + 1e-9, side="right") - 1
        drawn.append(curve.tpr[last])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    found_low, found_high = band(scores, labels, GRID)
    assert np.abs(found_low - low).max() < 1e-12
    assert np.abs(found_high - high).max() < 1e-12


def test_the_band_holds_the_curve_and_narrows_with_more_patients() -> None:
    widths = []
    for n in (30, 600):
        scores, labels = made_up(n)
        low, high = band(scores, labels, GRID)
        curve = roc_points(scores, labels)
        sensitivity = curve.tpr[np.searchsorted(curve.fpr, GRID + 1e-9, side="right") - 1]
        assert ((low <= sensitivity) & (sensitivity <= high)).mean() > 0.97
        widths.append((high - low).mean())
    assert widths[1] < widths[0] / 2
