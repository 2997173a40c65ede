from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from common.utils import portable

RANDOM = np.random.default_rng(0)
WIDE = np.concatenate([RANDOM.uniform(-700, 700, 5000), RANDOM.uniform(-2, 2, 5000)])
POSITIVE = np.exp(WIDE)
SHARES = np.concatenate([RANDOM.uniform(0, 1, 5000), np.exp(RANDOM.uniform(-700, 0, 5000))])


def units_apart(found: Any, expected: Any) -> float:
    return float(np.max(np.abs(found - expected) / np.spacing(np.abs(expected))))


@pytest.mark.parametrize(
    ("own", "reference", "x", "units"),
    [
        (portable.exp, np.exp, WIDE, 2),
        (portable.expm1, np.expm1, np.concatenate([WIDE, 1e-9 * WIDE]), 5),
        (portable.log, np.log, POSITIVE, 4),
        (portable.arcsin, np.arcsin, RANDOM.uniform(-0.5, 0.5, 5000), 2),
        (portable.normal_quantile, stats.norm.ppf, SHARES, 10),
    ],
)
def test_elementary_functions_are_right_to_a_few_units_in_the_last_place(
    own: Callable[[Any], Any], reference: Callable[[Any], Any], x: Any, units: int
) -> None:
    assert units_apart(own(x), reference(x)) <= units


def test_the_ends_of_elementary_functions_are_those_of_numpy() -> None:
    ends = np.array([-np.inf, -1e9, 0.0, 1e9, np.inf, np.nan])
    expected = [0.0, 0.0, 1.0, np.inf, np.inf, np.nan]
    np.testing.assert_array_equal(portable.exp(ends), expected)
    tails = portable.normal_quantile(np.array([0.0, 0.5, 1.0]))
    np.testing.assert_array_equal(tails, [-np.inf, 0.0, np.inf])


def test_quantiles_are_symmetric_and_increase() -> None:
    shares = np.arange(1, 1024) / 1024
    found = portable.normal_quantile(shares)
    np.testing.assert_array_equal(found, -found[::-1])
    assert (np.diff(found) > 0).all()


@given(st.floats(0.0, 1.0))
def test_the_cosine_is_that_of_the_library(share: float) -> None:
    assert portable.half_cosine(share) == pytest.approx(np.cos(np.pi * share), abs=1e-15)


@given(st.floats(-300.0, 300.0))
def test_powers_of_ten_are_correctly_rounded(exponent: float) -> None:
    exact = Context(prec=80).power(Decimal(10), Decimal(exponent))
    assert portable.power_of_ten(exponent) == float(exact)


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=10),
    st.lists(st.floats(-1.0, 7.0), min_size=1, max_size=10),
)
def test_interpolation_is_that_of_numpy(places: list[int], x: list[float]) -> None:
    known, values = np.sort(np.array(places, dtype=float)), np.arange(len(places)) * 0.3 - 1.0
    wanted = np.array([*x, *known])
    np.testing.assert_array_equal(
        portable.interpolate(wanted, known, values), np.interp(wanted, known, values)
    )


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_products_are_those_of_numpy_whatever_the_layout(m: int, n: int, k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    first, second, vector = (random.normal(size=size) for size in ((m, n), (n, k), (n,)))
    np.testing.assert_allclose(portable.product(first, second), first @ second, atol=1e-13)
    np.testing.assert_allclose(portable.product(first, vector), first @ vector, atol=1e-13)
    turned = np.asfortranarray(first)
    assert portable.product(turned, vector).tobytes() == portable.product(first, vector).tobytes()
    assert portable.product(turned, second).tobytes() == portable.product(first, second).tobytes()
