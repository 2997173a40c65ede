from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.impute import SimpleImputer

from common.statistics.counts import FoldCounts, LevelCounts


def test_fold_counts_match_a_direct_count(rows: Any, summed: Any) -> None:
    random = np.random.default_rng(0)
    fold, label = random.integers(-1, 5, 200), random.integers(0, 2, 200)
    result = summed(FoldCounts(folds=5), rows(np.zeros((200, 1)), label=label, fold=fold))
    for index in range(5):
        assert result.rows[index] == (fold == index).sum()
        assert result.positives[index] == label[fold == index].sum()


def test_fold_beyond_the_plan_is_an_error(rows: Any) -> None:
    with pytest.raises(ValueError, match="fold 4 of 3"):
        FoldCounts(folds=3).from_rows(rows(np.zeros((5, 1))))


def test_mode_matches_simple_imputer(rows: Any, summed: Any) -> None:
    random = np.random.default_rng(1)
    values = random.integers(0, 4, (150, 6)).astype(float)
    values[random.random(values.shape) < 0.2] = np.nan
    values[:, 5] = np.repeat([1.0, 3.0, np.nan], 50)  # a tie
    result = summed(LevelCounts(levels=4), rows(values))
    pooled = SimpleImputer(strategy="most_frequent").fit(values)
    assert np.array_equal(result.mode(), pooled.statistics_)
    assert np.array_equal(result.counts.sum(axis=1), np.isfinite(values).sum(axis=0))


def test_mode_of_a_column_without_values_is_nan(rows: Any, summed: Any) -> None:
    assert np.isnan(summed(LevelCounts(levels=2), rows(np.full((9, 1), np.nan))).mode()[0])


@pytest.mark.parametrize("value", [4.0, -1.0, 0.5])
def test_what_is_no_code_is_an_error(rows: Any, value: float) -> None:
    values = np.zeros((6, 2))
    values[3, 1] = value
    with pytest.raises(ValueError, match="column c0001 has values that are not codes below 4"):
        LevelCounts(levels=4).from_rows(rows(values))
