"""Moments by fold: mean and deviation of all rows outside a fold, as numpy has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.statistics.fold_moments import FoldMoments


def test_mean_and_deviation_outside_a_fold_are_those_of_its_rows(rows: Any, summed: Any) -> None:
    random = np.random.default_rng(1)
    values, fold = random.random((90, 2)), np.arange(90) % 4 - 1  # a quarter takes no part
    found = summed(FoldMoments(folds=3), rows(values, fold=fold))
    for left_out in (-1, 0, 1, 2):
        kept = values[(fold >= 0) & (fold != left_out)]
        for column in (0, 1):
            mean, deviation = found.outside(left_out, column)
            assert mean == pytest.approx(kept[:, column].mean(), abs=1e-9)
            assert deviation == pytest.approx(kept[:, column].std(), abs=1e-9)


def test_equal_values_have_no_deviation(rows: Any, summed: Any) -> None:
    found = summed(FoldMoments(folds=2), rows(np.full((20, 1), 0.3), fold=np.arange(20) % 2))
    assert found.outside(0) == (pytest.approx(0.3), 0.0)
