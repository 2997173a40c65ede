from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.learning.tridiagonal import Tridiagonal, tridiagonal


def products(p: int, rank: int, seed: int) -> Any:
    values = np.random.default_rng(seed).normal(size=(rank, p))
    return values.T @ values


def full(form: Tridiagonal) -> Any:
    return np.diag(form.diagonal) + np.diag(form.beside, 1) + np.diag(form.beside, -1)


@given(st.integers(1, 30), st.integers(0, 40), st.integers(0, 99))
def test_basis_and_form_give_the_matrix_again(p: int, rank: int, seed: int) -> None:
    matrix = products(p, rank, seed)
    form = tridiagonal(matrix)
    scale = max(np.abs(matrix).max(), 1.0)
    np.testing.assert_allclose(form.basis @ full(form) @ form.basis.T, matrix, atol=1e-13 * scale)
    np.testing.assert_allclose(form.basis.T @ form.basis, np.eye(p), atol=1e-13)


@given(st.integers(1, 30), st.integers(0, 40), st.integers(0, 99), st.floats(0.0, 1e4))
def test_it_multiplies_and_solves(p: int, rank: int, seed: int, factor: float) -> None:
    form = tridiagonal(products(p, rank, seed))
    vector = np.random.default_rng(seed + 1).normal(size=p)
    np.testing.assert_allclose(form.times(vector), full(form) @ vector, atol=1e-11)
    expected = np.linalg.solve(np.eye(p) + factor * full(form), vector)
    np.testing.assert_allclose(form.solve(factor, vector), expected, atol=1e-8)


@pytest.mark.parametrize("matrix", [np.zeros((4, 4)), np.eye(4), np.ones((4, 4)), np.ones((1, 1))])
def test_degenerate_matrices_do_no_harm(matrix: Any) -> None:
    form = tridiagonal(matrix)
    np.testing.assert_allclose(form.basis @ full(form) @ form.basis.T, matrix, atol=1e-14)
