from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.masking.update import STEP, from_ring32, to_ring32

LONG = 300_000  # more than two chunks


@given(
    sites=st.integers(1, 64),
    dtype=st.sampled_from([np.float32, np.float64]),
    step=st.sampled_from([STEP, 2.0**-21, 2.0**-28]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=100)
def test_sums_are_the_same_in_any_order_and_within_the_steps(
    sites: int, dtype: Any, step: float, seed: int
) -> None:
    largest = 2.0**32 * step / sites
    values = np.random.default_rng(seed).uniform(-largest, largest, (sites, 15)).astype(dtype)
    values *= dtype(0.999)
    rings = [to_ring32(row, step, sites) for row in values]
    start = np.zeros(15, dtype=np.uint32)
    total = sum(rings, start=start)
    assert np.array_equal(total, sum(rings[::-1], start=start))
    exact = np.array([float(sum(map(Fraction, map(float, column)))) for column in values.T])
    # from_ring32 rounds once more, to float32
    assert (
        np.abs(from_ring32(total, step) - exact) <= sites * step + 2.0**-24 * np.abs(exact) + 1e-12
    ).all()


@given(st.lists(st.integers(-(2**23), 2**23), min_size=1, max_size=30))
def test_numbers_on_the_grid_come_back_exactly(multiples: list[int]) -> None:
    values = np.array(multiples, dtype=np.float32) * np.float32(2 * STEP)
    assert np.array_equal(from_ring32(to_ring32(values, sites=10)), values)


def test_rounding_is_to_the_nearest_in_every_chunk() -> None:
    values = np.random.default_rng(3).normal(0.0, 1e-3, LONG)
    ring = to_ring32(values, sites=4)
    assert np.array_equal(ring.view(np.int32), np.rint(values * 2.0**24).astype(np.int32))
    assert np.abs(from_ring32(ring) - values).max() <= STEP


@pytest.mark.parametrize(("sites", "limit"), [(3, 42.6), (4, 31.9), (10, 12.7), (64, 1.9)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_documented_range_fits_and_a_sum_at_its_end_does_not_wrap(
    sites: int, limit: float, dtype: Any
) -> None:
    for sign in (-1.0, 1.0):
        ring = to_ring32(np.array([sign * limit], dtype=dtype), sites=sites)
        total = sum([ring] * sites, start=np.zeros(1, dtype=np.uint32))
        np.testing.assert_allclose(from_ring32(total), sign * limit * sites, rtol=1e-6)
    with pytest.raises(OverflowError):
        to_ring32(np.array([1.02 * 128 / sites], dtype=dtype), sites=sites)


@given(sites=st.integers(1, 64))
def test_the_largest_float64_that_passes_is_the_largest_that_cannot_wrap(sites: int) -> None:
    largest = (2**31 - 1) // sites
    ring = to_ring32(np.array([largest, -largest]) * 2 * STEP, sites=sites)
    assert ring.view(np.int32).tolist() == [largest, -largest]
    for beyond in (largest + 1, -largest - 1):
        with pytest.raises(OverflowError):
            to_ring32(np.array([beyond * 2 * STEP]), sites=sites)


@given(sites=st.integers(1, 64), away=st.integers(-3, 3))
def test_no_float32_about_the_border_wraps_around(sites: int, away: int) -> None:
    edge = np.float32(128.0 / sites) * np.float32(1.0 + away * 2.0**-23)
    try:
        ring = to_ring32(np.array([edge, -edge]), sites=sites)
    except OverflowError:
        assert away > -2
    else:
        assert np.abs(ring.view(np.int32).astype(np.int64)).max() * sites < 2**31


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 32.1, -32.1, 3e38, -3e38])
@pytest.mark.parametrize("place", [0, LONG - 1])
def test_what_could_wrap_around_is_an_error_wherever_it_is(bad: float, place: int) -> None:
    values = np.zeros(LONG, dtype=np.float32)
    values[place] = bad
    with pytest.raises(OverflowError, match=r"within \+-32, the range .* of 4 sites"):
        to_ring32(values, sites=4)


def test_an_empty_vector_stays_empty() -> None:
    ring = to_ring32(np.zeros(0, dtype=np.float32), sites=4)
    assert ring.dtype == np.uint32
    assert from_ring32(ring).size == 0


@pytest.mark.parametrize(
    ("values", "step", "error"),
    [
        (np.zeros(2, dtype=np.int32), STEP, TypeError),
        (np.zeros((2, 2), dtype=np.float32), STEP, ValueError),
        (np.zeros(2, dtype=np.float32), 0.1, ValueError),
        (np.zeros(2, dtype=np.float32), 0.0, ValueError),
        (np.zeros(2, dtype=np.float32), -0.5, ValueError),
    ],
)
def test_other_dtypes_shapes_and_steps_are_errors(values: Any, step: float, error: Any) -> None:
    with pytest.raises(error):
        to_ring32(values, step, 4)


def test_weights_can_be_taken_into_the_ring_in_place() -> None:
    values = np.random.default_rng(5).normal(0.0, 1e-3, LONG).astype(np.float32)
    expected = to_ring32(values, sites=4)
    ring = to_ring32(values, sites=4, out=values.view(np.uint32))
    assert np.shares_memory(ring, values)
    assert np.array_equal(ring, expected)


def test_a_ring_of_another_length_or_width_is_not_written_to() -> None:
    values = np.zeros(3, dtype=np.float32)
    for out in (np.zeros(2, dtype=np.uint32), np.zeros(3, dtype=np.uint64)):
        with pytest.raises(ValueError, match="into"):
            to_ring32(values, out=out)  # type: ignore[arg-type]
