from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_squared_error

from common.statistics.base import Rows
from common.statistics.exact import pack, unpack
from common.statistics.gram import CrossProducts, FoldGram


@pytest.fixture
def data() -> tuple[Any, Any, Any]:
    random = np.random.default_rng(0)
    values = random.normal(size=(150, 6)) + 0.3
    label = (values[:, 0] + random.normal(size=150) > 0).astype(float)
    return values, label, random.integers(-1, 5, 150)


@given(p=st.integers(0, 6), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_unpacking_inverts_packing(p: int, seed: int) -> None:
    matrix = np.random.default_rng(seed).normal(size=(p, p))
    matrix = matrix + matrix.T
    assert np.array_equal(unpack(pack(matrix), p), matrix)


def test_a_triangle_of_another_size_is_an_error() -> None:
    with pytest.raises(ValueError, match="cannot be the triangle of a 3 x 3 matrix"):
        unpack(np.zeros(5), 3)


@pytest.mark.parametrize("excluded", [(), (2,), (0, 4)])
def test_training_sums_match_the_pooled_rows(
    rows: Any, summed: Any, data: Any, excluded: tuple[int, ...]
) -> None:
    values, label, fold = data
    result = summed(FoldGram(folds=5), rows(values, label, fold)).training(excluded)
    keep = (fold >= 0) & ~np.isin(fold, excluded)
    x, y = values[keep], label[keep]
    xc, yc = x - x.mean(axis=0), y - y.mean()
    assert result.n == keep.sum()
    np.testing.assert_allclose(result.mean_x, x.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(result.gram, xc.T @ xc, atol=1e-7)
    np.testing.assert_allclose(result.xy, xc.T @ yc, atol=1e-7)
    assert result.yy == pytest.approx(yc @ yc)
    assert result.mean_y == pytest.approx(y.mean())


def test_validation_error_matches_predictions_on_the_fold(
    rows: Any, summed: Any, data: Any
) -> None:
    values, label, fold = data
    result = summed(FoldGram(folds=5), rows(values, label, fold))
    train, test = (fold >= 0) & (fold != 3), fold == 3
    model = LinearRegression().fit(values[train], label[train])
    expected = mean_squared_error(label[test], model.predict(values[test]))
    both = result.validation_errors(
        3, np.column_stack([model.coef_, 0 * model.coef_]), np.array([model.intercept_, 0.5])
    )
    assert both == pytest.approx([expected, 0.25])


@pytest.mark.parametrize("excluded", [(), (2,)])
def test_mean_and_deviation_of_a_linear_score_are_those_of_the_rows(
    rows: Any, summed: Any, data: Any, excluded: tuple[int, ...]
) -> None:
    values, label, fold = data
    result = summed(FoldGram(folds=5), rows(values, label, fold)).training(excluded)
    keep = (fold >= 0) & ~np.isin(fold, excluded)
    weights = np.linspace(-0.4, 0.7, values.shape[1])
    score = values[keep] @ weights - 0.3
    mean, deviation = result.spread(weights, -0.3)
    assert mean == pytest.approx(score.mean(), abs=1e-8)
    assert deviation == pytest.approx(score.std(), rel=1e-7)


def test_a_score_that_is_the_same_for_all_rows_has_no_deviation_whatever_rounding_left() -> None:
    random = np.random.default_rng(0)
    values = np.column_stack([np.full(60, 0.7) + 1e-13 * random.normal(size=60)] * 2)
    statistic = FoldGram(folds=5)
    table = Rows(values, ("a", "b"), np.arange(60) % 2 * 1.0, np.arange(60) % 5)
    result = statistic.finalise(statistic.from_rows(table)).training()
    assert result.spread(np.array([1.0, 2.0]), 0.5) == (pytest.approx(2.6), 0.0)
    assert result.spread(np.zeros(2), 0.0) == (0.0, 0.0)


def test_augmented_gram_ends_in_ones(rows: Any, summed: Any, data: Any) -> None:
    values, label, fold = data
    result = summed(FoldGram(folds=5), rows(values, label, fold)).augmented((1,))
    keep = (fold >= 0) & (fold != 1)
    x = np.column_stack([values[keep], np.ones(keep.sum())])
    np.testing.assert_allclose(result, x.T @ x, atol=1e-7)


@pytest.mark.parametrize("excluded", [(7,), (-1,), (0, 1, 2, 3, 4)])
def test_unknown_folds_and_empty_training_sets_are_errors(
    rows: Any, summed: Any, data: Any, excluded: tuple[int, ...]
) -> None:
    values, label, fold = data
    result = summed(FoldGram(folds=5), rows(values, label, fold))
    with pytest.raises(ValueError, match=r"folds .* of 5|no training rows"):
        result.training(excluded)


def test_missing_values_and_fold_numbers_too_high_are_errors(rows: Any) -> None:
    with pytest.raises(ValueError, match="column c0001 has missing values"):
        FoldGram(folds=5).from_rows(rows([[1.0, np.nan]]))
    with pytest.raises(ValueError, match="fold 4 of 3"):
        FoldGram(folds=3).from_rows(rows(np.zeros((5, 1))))


def test_cross_products_match_the_covariance_even_off_centre(
    rows: Any, summed: Any, data: Any
) -> None:
    values = data[0]
    off = values.mean(axis=0) + 0.01
    result = summed(CrossProducts(mean=off), rows(values))
    np.testing.assert_allclose(result.products / 149, np.cov(values.T), atol=1e-9)
    np.testing.assert_allclose(result.mean, values.mean(axis=0), atol=1e-9)
    assert result.n == 150


def test_cross_products_of_nobody_are_an_error(rows: Any, summed: Any) -> None:
    with pytest.raises(ValueError, match="no site has rows"):
        summed(CrossProducts(mean=np.zeros(2)), rows(np.zeros((0, 2))))
