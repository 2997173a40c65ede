"""Narrow ring elements: packing, sums modulo a power of two, and the grid that they lie on."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from common.masking.narrow import (
    BLOCK,
    Grid,
    add_packed,
    first_unpacked,
    from_narrow,
    grid_for,
    largest_of_blocks,
    on_grid,
    pack,
    packed_size,
    ring_width,
    signed,
    spread,
    to_narrow,
    unpack,
)
from common.masking.pairwise import mask_vector

WIDTHS = st.sampled_from([10, 12, 14, 16])
RINGS = arrays(np.uint16, st.integers(0, 40))
SITES = ("a", "b", "c", "d")


@given(RINGS, WIDTHS)
def test_what_is_packed_comes_back_modulo_the_width(ring: np.ndarray, width: int) -> None:
    packed = pack(ring, width)
    assert packed.dtype == np.uint8
    assert packed.size == packed_size(ring.size, width)
    assert np.array_equal(unpack(packed, ring.size, width), ring.astype(np.int64) % 2**width)


@given(RINGS, WIDTHS)
def test_what_is_added_packed_is_what_is_unpacked_and_added(ring: np.ndarray, width: int) -> None:
    total = np.arange(ring.size, dtype=np.uint16)
    expected = total + unpack(pack(ring, width), ring.size, width)
    add_packed(total, pack(ring, width), width)
    assert np.array_equal(total, expected)


def test_a_sum_is_added_and_read_a_part_at_a_time() -> None:
    size = 2**22
    total, packed = np.zeros(size, dtype=np.uint16), np.zeros(packed_size(size, 10), dtype=np.uint8)
    grid = Grid(10, (0.5,) * (size // BLOCK))
    tracemalloc.start()
    try:
        add_packed(total, packed, 10)
        assert tracemalloc.get_traced_memory()[1] < total.nbytes / 2
        tracemalloc.reset_peak()
        numbers = from_narrow(total, grid)
        assert tracemalloc.get_traced_memory()[1] < 1.2 * numbers.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("width", [10, 16])
def test_vectors_longer_than_a_chunk_are_packed_alike(width: int) -> None:
    ring = np.random.default_rng(1).integers(0, 2**16, 2**20 * 2 + 5).astype(np.uint16)
    assert np.array_equal(
        unpack(pack(ring, width), ring.size, width), ring.astype(np.int64) % 2**width
    )


@given(RINGS.filter(lambda ring: ring.size > 0), WIDTHS)
def test_bytes_that_no_packing_gives_are_refused(ring: np.ndarray, width: int) -> None:
    packed = pack(ring, width)
    for spoiled in (packed[:-1], np.append(packed, np.uint8(0)), packed.astype(np.uint16)):
        with pytest.raises(ValueError, match="bytes for"):
            unpack(spoiled, ring.size, width)
    if ring.size % 4:
        spoiled = packed.copy()
        spoiled[-1] |= 128
        with pytest.raises(ValueError, match="padding"):
            unpack(spoiled, ring.size, width)


@given(arrays(np.int16, 9, elements=st.integers(-512, 511)))
def test_ten_bits_hold_negative_numbers_too(numbers: np.ndarray) -> None:
    kept = unpack(pack(numbers.view(np.uint16), 10), 9, 10)
    assert np.array_equal(signed(kept, 10).view(np.int16), numbers)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("sites", [3, 4, 5, 17, 64, 200])
def test_sums_of_the_largest_shares_of_all_sites_do_not_wrap_around(bits: int, sites: int) -> None:
    width = ring_width(bits, sites)
    grid = Grid(width, (0.5,))
    share = on_grid(np.array([1e6, -1e6], dtype=np.float32), grid, sites)
    assert abs(share[0]) >= 0.5 * (126 if bits == 8 else 2**15 / sites - 2)
    ring = sum((to_narrow(share, grid, sites) for _ in range(sites)), np.zeros(2, np.uint16))
    total = unpack(pack(ring, width), 2, width)
    assert np.array_equal(from_narrow(total, grid), share * np.float32(sites))


@given(st.integers(0, 2**32 - 1), WIDTHS)
@settings(max_examples=25)
def test_masked_and_packed_shares_add_up_to_the_sum(seed: int, width: int) -> None:
    drawn = np.random.default_rng(seed)
    values = drawn.normal(0.0, 0.01, (4, 11)).astype(np.float32)
    grid = grid_for(largest_of_blocks(values.sum(axis=0)), width)
    shares = [on_grid(own, grid, 4) for own in values]
    total = np.zeros(11, dtype=np.uint16)
    for site, share in zip(SITES, shares, strict=True):
        pairs = {o: "".join(sorted(o + site)).encode() * 16 for o in SITES if o != site}
        masked = mask_vector(to_narrow(share, grid, 4), pairs, site, b"c" * 32)
        total += unpack(pack(masked, width), 11, width)
    found = from_narrow(unpack(pack(total, width), 11, width), grid)
    np.testing.assert_allclose(found, np.sum(shares, axis=0), rtol=1e-6, atol=1e-7)


def test_every_block_of_weights_has_its_own_step() -> None:
    change = np.full(BLOCK * 2 + 3, 1e-3, dtype=np.float32)
    change[BLOCK : 2 * BLOCK] = 0.5
    change[-1] = 0.0
    change[-2:] *= 0.01
    grid = grid_for(largest_of_blocks(change), 10)
    assert grid.steps[0] * 64 < grid.steps[1]
    share = change / np.float32(4.0)
    rounded = on_grid(share, grid, 4)
    for place in range(3):
        part = slice(place * BLOCK, (place + 1) * BLOCK)
        assert np.abs(rounded[part] - share[part]).max() <= grid.steps[place] / 2
    assert np.array_equal(from_narrow(to_narrow(rounded, grid, 4), grid), rounded)


def test_running_statistics_do_not_count_for_the_steps() -> None:
    change = np.array([0.1, 50.0, -0.2], dtype=np.float32)
    counted = np.array([True, False, True])
    assert largest_of_blocks(change, counted) == (pytest.approx(0.2),)
    assert largest_of_blocks(change, np.zeros(3, dtype=np.bool_)) == (0.0,)
    assert grid_for((0.0,), 10).steps == (2.0**-24,)


def test_what_is_too_large_is_cut_and_the_rest_is_known() -> None:
    grid = grid_for((1.0,), 16)
    values = np.array([0.3, -9.0, 100.0], dtype=np.float32)
    sent = on_grid(values, grid, sites=4)
    assert abs(sent[0] - 0.3) <= grid.steps[0] / 2
    assert np.all(np.abs(sent) < 2.0**15 / 4 * grid.steps[0])
    to_narrow(sent, grid, 4)
    with pytest.raises(ValueError, match="not on the grid"):
        to_narrow(values[:1], grid, 4)
    with pytest.raises(OverflowError, match="16 bits"):
        to_narrow(values[2:], Grid(16, (2.0**-12,)), 4)
    with pytest.raises(ValueError, match="2 steps for 3 weights"):
        to_narrow(sent, Grid(16, (1.0, 1.0)), 4)


def test_masked_elements_are_spread_over_all_sixteen_bits() -> None:
    ring = np.array([0, 1, 2**10 - 1], dtype=np.uint16)
    assert spread(ring, 10).tolist() == [0, 2**6, 2**16 - 2**6]


@pytest.mark.parametrize("width", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 12, 4001])
def test_the_first_elements_are_those_of_the_whole(count: int, width: int) -> None:
    packed = pack(np.random.default_rng(count).integers(0, 2**16, count, dtype=np.uint16), width)
    whole = unpack(packed, count, width)
    assert np.array_equal(first_unpacked(packed, count, width, 8), whole[:8])


@pytest.mark.parametrize("count", [5, 4001])
def test_the_first_elements_of_bytes_that_no_packing_gives_are_refused(count: int) -> None:
    packed = pack(np.ones(count, dtype=np.uint16), 10)
    hidden = packed.copy()
    hidden[-1] = 255
    for spoiled in (packed[:-1], np.append(packed, np.uint8(0)), hidden):
        with pytest.raises(ValueError, match=r"padding|bytes"):
            first_unpacked(spoiled, count, 10, 8)
