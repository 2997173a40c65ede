from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.masking.fixed_point import from_ring, to_ring

STEPS = st.sampled_from([0.5, 2.0**-24, 2.0**-32, 2.0**-40])


@given(
    values=st.lists(st.floats(-1e5, 1e5), min_size=1, max_size=20),
    step=STEPS,
    order=st.permutations(range(5)),
)
@settings(max_examples=100)
def test_ring_sums_are_the_same_in_any_order_and_within_the_steps(
    values: Any, step: float, order: Any
) -> None:
    steps = np.full(len(values), step)
    sites = [to_ring(np.array(values) * (k + 1) / 5, steps, 5) for k in range(5)]
    forward = sum(sites[1:], start=sites[0])
    other = sum((sites[k] for k in order[1:]), start=sites[order[0]])
    assert np.array_equal(forward, other)
    expected = np.array(values) * 3.0
    rounding = 1e-15 * np.abs(expected)
    assert (np.abs(from_ring(forward, steps) - expected) <= 5 * steps + rounding).all()


def test_negative_numbers_come_back() -> None:
    steps = np.array([0.5, 2.0**-40])
    assert from_ring(to_ring(np.array([-7.0, -0.25]), steps, 2), steps).tolist() == [-7.0, -0.25]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 2.0**61])
def test_what_could_wrap_around_is_an_error(bad: float) -> None:
    with pytest.raises(OverflowError, match="too large for the fixed point of 4 sites"):
        to_ring(np.array([1.0, bad]), np.full(2, 0.5), 4)
