from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.calibration import calibration_curve

from common.evaluation.calibration_curve import calibration_table
from common.statistics.base import Rows
from common.statistics.scores import BinnedCalibration


def binned(scores: Any, labels: Any) -> Any:
    rows = Rows(
        values=scores[:, None], columns=("m",), label=labels, fold=np.zeros(len(labels), np.int64)
    )
    return BinnedCalibration().finalise(BinnedCalibration().from_rows(rows))


def test_filled_bins_match_scikit_learn() -> None:
    random = np.random.default_rng(0)
    scores = np.round(random.beta(2, 5, 150) * 0.8, 4)
    labels = (random.random(150) < scores).astype(float)
    table = calibration_table(binned(scores, labels), 0)
    observed, predicted = calibration_curve(labels, scores, n_bins=10)
    filled = table.count > 0
    np.testing.assert_allclose(table.observed[filled], observed)
    np.testing.assert_allclose(table.probability[filled], predicted)
    assert np.isnan(table.observed[~filled]).all()


def test_no_rows_give_nan() -> None:
    table = calibration_table(binned(np.zeros(0), np.zeros(0)), 0)
    assert np.isnan(table.observed).all()
