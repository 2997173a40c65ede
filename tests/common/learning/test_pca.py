from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA

from common.learning.agreement import axes_of
from common.learning.pca import leading_axes, most_axes
from common.statistics.gram import CrossProducts


def principal_axes(products: Any, n: int, components: int) -> Any:
    """As the phases put it together: of so many rows, the coordinator's axes, in order."""
    return leading_axes(axes_of(products, most_axes(n, len(products), components)), n)


@pytest.mark.parametrize(("n", "p", "k"), [(120, 20, 6), (120, 20, 20), (25, 40, 24)])
def test_matches_scikit_learn_up_to_sign(rows: Any, summed: Any, n: int, p: int, k: int) -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(n, p)) * np.linspace(3, 1, p) + 5
    result = summed(CrossProducts(mean=values.mean(axis=0)), rows(values))
    axes, variances = principal_axes(result.products, result.n, k)
    pooled = PCA(n_components=k, svd_solver="full").fit(values)
    signs = np.sign((axes * pooled.components_.T).sum(axis=0))
    np.testing.assert_allclose(axes * signs, pooled.components_.T, atol=1e-6)
    np.testing.assert_allclose(variances, pooled.explained_variance_, rtol=1e-7)


def test_largest_loading_is_positive_and_axes_are_orthonormal() -> None:
    values = np.random.default_rng(1).normal(size=(30, 8))
    centred = values - values.mean(axis=0)
    axes, _ = principal_axes(centred.T @ centred, 30, 8)
    assert (axes[np.abs(axes).argmax(axis=0), np.arange(8)] > 0).all()
    np.testing.assert_allclose(axes.T @ axes, np.eye(8), atol=1e-12)


@pytest.mark.parametrize(("n", "p", "asked", "given"), [(10, 30, 256, 9), (50, 4, 256, 4)])
def test_no_more_axes_than_rows_or_columns_allow(n: int, p: int, asked: int, given: int) -> None:
    values = np.random.default_rng(2).normal(size=(n, p))
    centred = values - values.mean(axis=0)
    axes, variances = principal_axes(centred.T @ centred, n, asked)
    assert axes.shape == (p, given)
    assert variances.shape == (given,)


@pytest.mark.parametrize(("n", "k"), [(1, 3), (10, 0)])
def test_too_few_rows_or_components_are_an_error(n: int, k: int) -> None:
    with pytest.raises(ValueError, match="components of"):
        principal_axes(np.eye(3), n, k)
