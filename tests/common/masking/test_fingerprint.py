from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import stats

from common.masking.fingerprint import (
    P,
    check_addend,
    check_total,
    coefficients,
    fingerprint,
    fingerprint_of,
    mask_fingerprint,
    pad,
    pair_mask,
    signed_of,
)

KEYS = st.binary(min_size=32, max_size=32)
CONTEXTS = st.binary(max_size=40)
KEY, CONTEXT = b"k" * 32, b"context"
LONG = 2**15 * 2 + 77  # several chunks


def by_hand(rho: NDArray[Any], signed: NDArray[Any]) -> int:
    return sum(int(a) * int(b) for a, b in zip(rho, signed, strict=True)) % P


def vectors(sites: int, bits: int = 64) -> st.SearchStrategy[NDArray[Any]]:
    """Return numbers that this many sites may add: (sites, n)."""
    bound = {64: 2**59 // sites - 1, 32: (2**31 - 1) // sites, 16: (2**15 - 1) // sites}[bits]
    return hnp.arrays(
        np.dtype(f"i{bits // 8}"),
        st.tuples(st.just(sites), st.integers(0, 30)),
        elements=st.integers(-bound, bound),
    )


@given(st.integers(1, 5).flatmap(vectors), KEYS, CONTEXTS)
def test_the_fingerprints_of_the_sites_add_up_to_that_of_the_total(
    signed: NDArray[np.int64], key: bytes, context: bytes
) -> None:
    for own in signed:
        check_addend(own, len(signed))
    total = signed.sum(axis=0)
    check_total(total)
    rho = coefficients(key, context, total.size)
    assert sum(fingerprint(rho, own) for own in signed) % P == fingerprint(rho, total)


@pytest.mark.parametrize("bits", [16, 32])
@given(data=st.data(), key=KEYS)
def test_narrower_rings_add_up_too_and_never_wrap_around(
    bits: int, data: st.DataObject, key: bytes
) -> None:
    signed = data.draw(st.integers(1, 5).flatmap(lambda sites: vectors(sites, bits)))
    for own in signed:
        check_addend(own, len(signed))
    ring = np.dtype(f"u{bits // 8}")
    total = signed_of(signed.view(ring).sum(axis=0, dtype=ring))
    check_total(total)
    assert np.array_equal(total, signed.sum(axis=0, dtype=np.int64))
    rho = coefficients(key, CONTEXT, total.size)
    assert sum(fingerprint(rho, own) for own in signed) % P == fingerprint(rho, total)


@given(
    hnp.arrays(np.int64, st.integers(0, 50), elements=st.integers(-(2**63), 2**63 - 1)),
    KEYS,
    st.sampled_from([np.int64, np.int32, np.int16]),
)
def test_it_is_the_sum_of_products_modulo_a_prime(
    signed: NDArray[np.int64], key: bytes, width: Any
) -> None:
    own = signed.astype(width)
    rho = coefficients(key, CONTEXT, own.size)
    assert fingerprint(rho, own) == by_hand(rho, own)


@pytest.mark.parametrize("width", [np.int64, np.int32, np.int16])
@pytest.mark.parametrize("extreme", ["min", "max"])
def test_the_largest_numbers_and_coefficients_are_exact_over_several_chunks(
    width: Any, extreme: str
) -> None:
    signed = np.full(LONG, getattr(np.iinfo(width), extreme), dtype=width)
    rho = np.full(LONG, P - 1, dtype=np.uint64)
    assert fingerprint(rho, signed) == by_hand(rho, signed)


def test_several_vectors_end_to_end_have_the_fingerprint_of_all_coefficients() -> None:
    rng = np.random.default_rng(3)
    parts = [rng.integers(-9, 9, n).astype(w) for n, w in ((LONG, "i8"), (5, "i4"), (700, "i2"))]
    together = np.concatenate(parts)
    rho = coefficients(KEY, CONTEXT, together.size)
    assert fingerprint_of(KEY, CONTEXT, parts) == fingerprint(rho, together)
    assert fingerprint_of(KEY, CONTEXT, []) == 0


@given(
    hnp.arrays(np.int64, st.integers(1, 40), elements=st.integers(-(2**59), 2**59)),
    KEYS,
    st.data(),
)
@settings(max_examples=300)
def test_one_unit_in_one_place_is_found(
    total: NDArray[np.int64], key: bytes, data: st.DataObject
) -> None:
    rho = coefficients(key, CONTEXT, total.size)
    changed = total.copy()
    changed[data.draw(st.integers(0, total.size - 1))] += data.draw(st.sampled_from([-1, 1]))
    assert fingerprint(rho, changed) != fingerprint(rho, total)


@given(
    hnp.arrays(np.int64, st.integers(2, 40), elements=st.integers(-(2**59), 2**59), unique=True),
    KEYS,
    st.data(),
)
def test_two_numbers_that_swap_places_are_found(
    total: NDArray[np.int64], key: bytes, data: st.DataObject
) -> None:
    rho = coefficients(key, CONTEXT, total.size)
    one, other = data.draw(st.permutations(range(total.size)))[:2]
    changed = total.copy()
    changed[[one, other]] = total[[other, one]]
    assert fingerprint(rho, changed) != fingerprint(rho, total)


@given(
    hnp.arrays(np.int64, st.integers(1, 10), elements=st.integers(1 - 2**60, 2**60 - 1)),
    st.sampled_from([-4, -3, -2, -1, 1, 2, 3, 4]),
    st.data(),
)
def test_a_total_changed_by_a_multiple_of_the_prime_is_found_by_its_size(
    total: NDArray[np.int64], times: int, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, total.size - 1))
    moved = (int(total[place]) + times * P) % 2**64
    ring = total.view(np.uint64).copy()
    ring[place] = moved
    changed = signed_of(ring)
    check_total(total)
    with pytest.raises(ValueError, match="beyond the range"):
        check_total(changed)
    rho = coefficients(KEY, CONTEXT, total.size)
    if int(changed[place]) == int(total[place]) + times * P:  # the fingerprint alone is blind to it
        assert fingerprint(rho, changed) == fingerprint(rho, total)


@pytest.mark.parametrize(("width", "bits"), [(np.int64, 59), (np.int32, 31), (np.int16, 15)])
@pytest.mark.parametrize("sites", [1, 2, 3, 7])
@pytest.mark.parametrize("sign", [-1, 1])
def test_addends_stop_just_below_their_bound(width: Any, bits: int, sites: int, sign: int) -> None:
    first_refused = -(-(2**bits) // sites)
    check_addend(np.array([0, sign * (first_refused - 1)], dtype=width), sites)
    if first_refused <= np.iinfo(width).max or sign < 0:
        with pytest.raises(OverflowError, match="too large"):
            check_addend(np.array([0, sign * first_refused], dtype=width), sites)


@pytest.mark.parametrize(
    ("width", "bound"), [(np.int64, 2**60), (np.int32, 2**31), (np.int16, 2**15)]
)
def test_totals_stop_just_below_their_bound(width: Any, bound: int) -> None:
    check_total(np.array([1 - bound, bound - 1, 0], dtype=width))
    check_total(np.zeros(0, dtype=width))
    with pytest.raises(ValueError, match="beyond the range"):
        check_total(np.array([-bound], dtype=width))


def test_other_dtypes_and_shapes_are_refused() -> None:
    with pytest.raises(TypeError):
        signed_of(np.zeros(3))
    with pytest.raises(TypeError):
        signed_of(np.zeros(3, dtype=np.dtype("u8").newbyteorder()))
    rho = coefficients(KEY, CONTEXT, 3)
    with pytest.raises(TypeError):
        fingerprint(rho, np.zeros(3))
    with pytest.raises(ValueError, match="coefficients"):
        fingerprint(rho, np.zeros(4, dtype=np.int64))


def test_coefficients_are_uniform_and_unrelated_to_each_other() -> None:
    rho = coefficients(KEY, CONTEXT, 200_000)
    assert rho.max() < P
    assert np.unique(rho).size == rho.size
    unit = rho / P
    assert stats.kstest(unit, "uniform").pvalue > 1e-3
    for lag in (1, 2, 3):
        assert abs(np.corrcoef(unit[:-lag], unit[lag:])[0, 1]) < 0.012
    first, second = int(rho[0]), int(rho[1])  # of powers of one value, the third follows
    assert int(rho[2]) != second * second * pow(first, -1, P) % P
    bits = (rho[:, None] >> np.arange(61, dtype=np.uint64)) & np.uint64(1)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.006


def test_a_longer_vector_has_the_same_first_coefficients() -> None:
    assert np.array_equal(coefficients(KEY, CONTEXT, LONG)[:9], coefficients(KEY, CONTEXT, 9))


@given(KEYS, st.binary(min_size=1, max_size=40), st.data())
def test_one_bit_of_the_context_or_key_changes_everything(
    key: bytes, context: bytes, data: st.DataObject
) -> None:
    bit = data.draw(st.integers(0, 8 * len(context) - 1))
    other = (int.from_bytes(context, "big") ^ (1 << bit)).to_bytes(len(context), "big")
    bit = data.draw(st.integers(0, 255))
    another = (int.from_bytes(key, "big") ^ (1 << bit)).to_bytes(32, "big")
    rho = coefficients(key, context, 50)
    assert not (rho == coefficients(key, other, 50)).any()
    assert not (rho == coefficients(another, context, 50)).any()
    assert len({pad(key, context), pad(key, other), pad(another, context), int(rho[0])}) == 4
    assert len({pair_mask(key, context), pair_mask(key, other), pair_mask(another, context)}) == 3


@given(
    st.lists(st.text(min_size=1, max_size=4), min_size=2, max_size=6, unique=True),
    st.lists(st.integers(0, P - 1), min_size=6, max_size=6),
    CONTEXTS,
)
def test_the_masks_of_the_participants_cancel_in_the_sum(
    names: list[str], values: list[int], context: bytes
) -> None:
    secrets = {
        frozenset(pair): f"{sorted(pair)!r:>32.32}".encode(errors="replace")[:32]
        for pair in ((a, b) for a in names for b in names if a != b)
    }
    masked = [
        mask_fingerprint(
            value,
            {peer: secrets[frozenset((own, peer))] for peer in names if peer != own},
            own,
            context,
        )
        for own, value in zip(names, values, strict=False)
    ]
    assert all(0 <= one < P for one in masked)
    assert sum(masked) % P == sum(values[: len(names)]) % P


def test_a_masked_fingerprint_is_as_good_as_random() -> None:
    drawn = []
    for k in range(4000):
        secrets = {"b": k.to_bytes(32, "big"), "c": (k + 9999).to_bytes(32, "big")}
        drawn.append(mask_fingerprint(5, secrets, "a", CONTEXT) / P)
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3


def test_a_mask_with_itself_or_of_no_fingerprint_is_refused() -> None:
    with pytest.raises(ValueError, match="with itself"):
        mask_fingerprint(1, {"a": KEY}, "a", CONTEXT)
    for value in (-1, P):
        with pytest.raises(ValueError, match="lies in"):
            mask_fingerprint(value, {"b": KEY}, "a", CONTEXT)
