from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Lasso, LassoCV

from common.learning.lasso import choose, fallback, lasso_path_from_gram
from common.statistics.gram import FoldGram

ALPHAS = np.logspace(-3, 0, 50)


def example(n: int, p: int, seed: int) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(seed)
    blocks = random.normal(size=(n, p // 5 + 1))
    values = 0.8 * blocks[:, np.arange(p) // 5] + random.normal(size=(n, p))
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    label = (values[:, :4].sum(axis=1) / 3 + random.normal(size=n) > 0).astype(float)
    return values, label, random.permutation(n) % 5


def cv(fold: Any, kept: tuple[int, ...]) -> list[Any]:
    inside = fold[np.isin(fold, kept)]
    return [(np.flatnonzero(inside != k), np.flatnonzero(inside == k)) for k in kept]


@pytest.mark.parametrize(
    ("n", "p", "kept"), [(200, 30, (0, 1, 2, 3, 4)), (200, 30, (0, 2, 3)), (60, 90, (0, 1, 2, 3))]
)
def test_matches_lasso_cv_on_pooled_rows(
    rows: Any, summed: Any, n: int, p: int, kept: tuple[int, ...]
) -> None:
    values, label, fold = example(n, p, 0)
    alphas = np.logspace(-2 if p > n else -3, 0, 50)
    fit = choose(summed(FoldGram(folds=5), rows(values, label, fold)), alphas, kept)
    used = np.isin(fold, kept)
    pooled = LassoCV(alphas=alphas, cv=cv(fold, kept), tol=1e-10, max_iter=100_000)
    pooled.fit(values[used], label[used])
    assert fit.alpha == pytest.approx(pooled.alpha_, rel=1e-12)
    assert np.array_equal(fit.support, np.flatnonzero(pooled.coef_))
    np.testing.assert_allclose(fit.coefficients, pooled.coef_, atol=1e-7)
    assert fit.intercept == pytest.approx(pooled.intercept_, abs=1e-7)
    best = int(np.flatnonzero(fit.alphas == fit.alpha)[0])
    mse = pooled.mse_path_.mean(axis=1)
    np.testing.assert_allclose(fit.cv_error[: best + 1], mse[: best + 1], atol=1e-7)
    np.testing.assert_allclose(fit.cv_error, mse, rtol=0.01)


def test_path_matches_lasso_at_every_alpha(rows: Any, summed: Any) -> None:
    values, label, fold = example(150, 12, 1)
    gram = summed(FoldGram(folds=5), rows(values, label, fold)).training((1,))
    grid = ALPHAS[::-1]
    path = lasso_path_from_gram(gram, grid)
    keep = fold != 1
    for index in range(0, 50, 7):
        model = Lasso(alpha=grid[index], tol=1e-12, max_iter=100_000).fit(values[keep], label[keep])
        np.testing.assert_allclose(path[:, index], model.coef_, atol=1e-7)


def test_a_penalty_that_keeps_nothing_gives_the_mean(rows: Any, summed: Any) -> None:
    values, label, fold = example(80, 6, 2)
    fit = choose(summed(FoldGram(folds=5), rows(values, label, fold)), np.array([5.0]), (0, 1, 2))
    assert fit.support.size == 0
    assert fit.intercept == pytest.approx(label[fold < 3].mean())


def test_fallback_names_the_columns_closest_to_the_label(rows: Any, summed: Any) -> None:
    values, label, fold = example(80, 10, 3)
    gram = summed(FoldGram(folds=5), rows(values, label, fold)).training()
    r = np.abs(values.T @ (label - label.mean()))
    assert fallback(gram, 3).tolist() == sorted(np.argsort(-r)[:3].tolist())
    assert fallback(gram, 99).size == 10


def test_constant_and_repeated_columns_do_no_harm(rows: Any, summed: Any) -> None:
    values, label, fold = example(100, 6, 4)
    values[:, 2] = 0.0
    values[fold != 0, 3] = 0.0  # constant in the training rows only
    values[:, 5] = values[:, 0]
    fit = choose(summed(FoldGram(folds=5), rows(values, label, fold)), ALPHAS, (0, 1, 2, 3, 4))
    assert fit.coefficients[2] == 0.0
    assert np.isfinite(fit.path).all()


def test_one_class_gives_no_columns(rows: Any, summed: Any) -> None:
    values, _, fold = example(50, 4, 5)
    fit = choose(summed(FoldGram(folds=5), rows(values, np.ones(50), fold)), ALPHAS, (0, 1, 2))
    assert fit.support.size == 0
    assert fit.intercept == pytest.approx(1.0)


def test_empty_folds_and_single_folds_are_errors(rows: Any, summed: Any) -> None:
    values, label, fold = example(40, 3, 6)
    gram = summed(FoldGram(folds=6), rows(values, label, fold))
    with pytest.raises(ValueError, match="fold 5 has no rows"):
        choose(gram, ALPHAS, (0, 1, 5))
    with pytest.raises(ValueError, match="at least two folds"):
        choose(gram, ALPHAS, (1,))


def test_alphas_out_of_order_are_an_error(rows: Any, summed: Any) -> None:
    values, label, fold = example(40, 3, 7)
    gram = summed(FoldGram(folds=5), rows(values, label, fold)).training()
    with pytest.raises(ValueError, match="positive and decreasing"):
        lasso_path_from_gram(gram, ALPHAS)
