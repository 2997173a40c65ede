from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.statistics.exact import exact_column_sums, from_digits

NUMBERS = st.floats(min_value=-1e30, max_value=1e30, allow_nan=False).filter(
    lambda x: x == 0 or abs(x) > 1e-17
)


@given(values=st.lists(NUMBERS, min_size=1, max_size=30), cut=st.integers(0, 30))
@settings(max_examples=200)
def test_sum_is_the_correctly_rounded_one_whatever_the_split(values: Any, cut: int) -> None:
    column = np.array(values)[:, None]
    digits = exact_column_sums(column[:cut]) + exact_column_sums(column[cut:])
    assert from_digits(digits)[0] == pytest.approx(math.fsum(values), rel=1e-15, abs=1e-32)
    assert from_digits(digits)[0] == from_digits(exact_column_sums(column[::-1]))[0]
    assert np.array_equal(digits, np.rint(digits))


def test_large_numbers_that_cancel_leave_the_small_one() -> None:
    column = np.array([1e40, 1.5, -1e40, 2.0**-80])[:, None]
    assert from_digits(exact_column_sums(column))[0] == 1.5 + 2.0**-80


def test_digits_of_a_sum_do_not_tell_the_largest_of_its_numbers() -> None:
    one = exact_column_sums(np.array([8123456789.25, -8123456780.25, 50.0])[:, None])
    other = exact_column_sums(np.array([20.0, 19.0, 20.0])[:, None])
    assert np.array_equal(one, other)


def test_a_sum_below_zero_has_digits_below_zero() -> None:
    column = np.array([-1.5, -(2.0**33), 0.25])[:, None]
    digits = exact_column_sums(column)
    assert (digits <= 0).all()
    assert from_digits(digits)[0] == math.fsum(column[:, 0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e44])
def test_what_cannot_be_summed_is_an_error(bad: float) -> None:
    with pytest.raises(ValueError, match="not finite or too large"):
        exact_column_sums(np.array([[1.0], [bad]]))
