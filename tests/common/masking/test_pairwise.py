from __future__ import annotations

import hashlib
import hmac
import struct
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import RefusedError
from common.masking.agreement import announce, check_roster, pair_secrets, roster_digest
from common.masking.fixed_point import from_ring, to_ring
from common.masking.identity import public_text
from common.masking.pairwise import among, keystream, mask_context, mask_vector

WIDTHS = st.sampled_from([np.uint32, np.uint64])
NAMES = st.lists(st.text(min_size=1, max_size=4), min_size=3, max_size=8, unique=True)
SITES = ("cuh", "nan", "qfs", "west")
CONTEXT = mask_context("run", "1", "request", "0", SITES)
LONG = 150_000  # more than one chunk, and not a multiple of it


def keys_of(own: str, sites: Any, roster: str = "") -> dict[str, bytes]:
    return {
        peer: hashlib.sha256(f"{sorted((own, peer))} {roster}".encode(errors="replace")).digest()
        for peer in sites
        if peer != own
    }


def numbers(seed: int, size: int, width: Any) -> Any:
    bits = np.iinfo(width).max
    return np.random.default_rng(seed).integers(0, bits, size, dtype=width, endpoint=True)


@given(
    names=NAMES,
    width=WIDTHS,
    size=st.integers(0, 40),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
@settings(max_examples=100)
def test_masks_cancel_bit_for_bit_for_any_sites_in_any_order(
    names: list[str], width: Any, size: int, seed: int, data: st.DataObject
) -> None:
    plain = {name: numbers(seed + k, size, width) for k, name in enumerate(names)}
    masked = {name: mask_vector(plain[name], keys_of(name, names), name, CONTEXT) for name in names}
    order = data.draw(st.permutations(names))
    start = np.zeros(size, dtype=width)
    total = sum((masked[name] for name in order), start=start)
    assert total.dtype == width
    assert np.array_equal(total, sum(plain.values(), start=start))


@pytest.mark.parametrize("width", [np.uint32, np.uint64])
def test_masks_cancel_over_several_chunks(width: Any) -> None:
    plain = {name: numbers(k, LONG, width) for k, name in enumerate(SITES)}
    start = np.zeros(LONG, dtype=width)
    masked = [mask_vector(plain[n], keys_of(n, SITES), n, CONTEXT) for n in SITES]
    assert np.array_equal(sum(masked, start=start), sum(plain.values(), start=start))
    partial = sum(masked[1:], start=start)
    wanted = sum([plain[n] for n in SITES[1:]], start=start)
    assert np.mean(partial == wanted) < 1e-3


def test_a_study_from_identity_keys_to_the_sum() -> None:
    identities = {site: Ed25519PrivateKey.generate() for site in SITES}
    roster = {site: public_text(key.public_key()) for site, key in identities.items()}
    digest = roster_digest(roster)
    made = {s: announce(identities[s], s, "run", "study", digest, "session") for s in SITES}
    steps = np.full(7, 2.0**-30)
    rows = {s: np.linspace(-k, 3.0 * k, 7) for k, s in enumerate(SITES, start=1)}
    participants = ("west", "cuh", "nan")
    context = mask_context("run", "1", "request", "0", participants)
    total = np.zeros(7, dtype=np.uint64)
    for site in participants:
        sent = [key for _, key in made.values()]
        keys = check_roster(sent, roster, "run", "study", digest, "session")
        secrets = pair_secrets(made[site][0], site, keys, "run", digest)
        ring = to_ring(rows[site], steps, 3)
        total += mask_vector(ring, among(secrets, site, participants), site, context)
    plain = sum((to_ring(rows[s], steps, 3) for s in participants), start=np.zeros_like(total))
    assert np.array_equal(total, plain)
    np.testing.assert_allclose(
        from_ring(total, steps), sum(rows[s] for s in participants), atol=3 * 2.0**-30
    )


def chi_square(vector: Any) -> float:
    counts = np.bincount(vector.view(np.uint8), minlength=256)
    expected = counts.sum() / 256
    return float(((counts - expected) ** 2).sum() / expected)


@pytest.mark.parametrize("width", [np.uint32, np.uint64])
def test_a_masked_vector_looks_uniform_and_unlike_the_plain_one(width: Any) -> None:
    plain = np.arange(LONG, dtype=width)
    masked = mask_vector(plain, keys_of("nan", SITES), "nan", CONTEXT)
    # 255 degrees of freedom: mean 255, standard deviation 22.6
    assert abs(chi_square(masked) - 255) < 6 * 22.6
    assert chi_square(plain) > 1e5
    r = np.corrcoef(plain.astype(np.float64), masked.astype(np.float64))[0, 1]
    assert abs(r) < 5 / np.sqrt(LONG)
    neighbours = np.corrcoef(masked[1:].astype(np.float64), masked[:-1].astype(np.float64))
    assert abs(neighbours[0, 1]) < 5 / np.sqrt(LONG)


def test_another_run_exchange_request_item_participants_or_roster_give_unrelated_masks() -> None:
    zeros = np.zeros(20_000, dtype=np.uint64)
    usual = keys_of("nan", SITES)
    contexts = [
        CONTEXT,
        mask_context("run-2", "1", "request", "0", SITES),
        mask_context("run", "2", "request", "0", SITES),
        mask_context("run", "1", "other request", "0", SITES),
        mask_context("run", "1", "request", "1", SITES),
        mask_context("run", "1", "request", "0", SITES[:3]),
    ]
    masks = [mask_vector(zeros, usual, "nan", context) for context in contexts]
    masks.append(mask_vector(zeros, keys_of("nan", SITES, "other roster"), "nan", CONTEXT))
    bits = [np.unpackbits(mask.view(np.uint8)).astype(np.float64) for mask in masks]
    agreement = np.corrcoef(bits)
    off_diagonal = agreement[~np.eye(len(bits), dtype=bool)]
    assert np.abs(off_diagonal).max() < 5 / np.sqrt(bits[0].size)


def test_one_mask_is_not_repeated_for_a_prefix_or_in_the_other_ring() -> None:
    keys = keys_of("nan", SITES)
    long = mask_vector(np.zeros(100, dtype=np.uint64), keys, "nan", CONTEXT)
    short = mask_vector(np.zeros(50, dtype=np.uint64), keys, "nan", CONTEXT)
    narrow = mask_vector(np.zeros(100, dtype=np.uint32), keys, "nan", CONTEXT)
    assert not (long[:50] == short).any()
    assert not (long.view(np.uint32)[:100] == narrow).any()


def test_the_same_vector_masked_again_is_the_same() -> None:
    plain, keys = numbers(1, 1000, np.uint64), keys_of("nan", SITES)
    first = mask_vector(plain, keys, "nan", CONTEXT)
    assert np.array_equal(mask_vector(plain, keys, "nan", CONTEXT), first)


def test_in_place_gives_the_same_and_otherwise_the_values_stay() -> None:
    plain, keys = numbers(1, LONG, np.uint32), keys_of("nan", SITES)
    before = plain.copy()
    masked = mask_vector(plain, keys, "nan", CONTEXT)
    assert np.array_equal(plain, before)
    assert mask_vector(plain, keys, "nan", CONTEXT, out=plain) is plain
    assert np.array_equal(plain, masked)


def test_fewer_than_three_sites_are_refused_unless_the_caller_says_otherwise() -> None:
    pair = ("cuh", "nan")
    plain = numbers(1, 10, np.uint64)
    with pytest.raises(RefusedError, match="a sum over 2 sites, and a mask needs at least 3"):
        mask_vector(plain, keys_of("cuh", pair), "cuh", CONTEXT)
    with pytest.raises(RefusedError, match="a sum over 1 sites"):
        mask_vector(plain, {}, "cuh", CONTEXT)
    masked = [mask_vector(plain, keys_of(s, pair), s, CONTEXT, allow_fewer=True) for s in pair]
    assert not (masked[0] == plain).any()
    assert np.array_equal(masked[0] + masked[1], plain + plain)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"values": np.zeros(3, dtype=np.int64)}, TypeError),
        ({"values": np.zeros(3, dtype=">u8")}, TypeError),
        ({"values": np.zeros((3, 1), dtype=np.uint64)}, ValueError),
        ({"out": np.zeros(4, dtype=np.uint64)}, ValueError),
        ({"out": np.zeros(3, dtype=np.uint32)}, TypeError),
        ({"own": "cuh"}, ValueError),
        ({"pair_keys": {"a": b"short", "b": bytes(32)}}, ValueError),
    ],
)
def test_wrong_shapes_dtypes_and_keys_are_errors(change: Any, error: Any) -> None:
    usual = {
        "values": np.zeros(3, dtype=np.uint64),
        "pair_keys": keys_of("nan", SITES),
        "own": "nan",
        "context": CONTEXT,
    }
    with pytest.raises(error):
        mask_vector(**{**usual, **change})


def test_only_the_keys_of_the_participants_are_used() -> None:
    secrets = keys_of("nan", SITES)
    assert set(among(secrets, "nan", ("nan", "west", "cuh"))) == {"cuh", "west"}
    with pytest.raises(ValueError, match="nan is not among the participants"):
        among(secrets, "nan", ("cuh", "west", "qfs"))
    with pytest.raises(ValueError, match="no pair key with far, further"):
        among(secrets, "nan", ("nan", "cuh", "further", "far"))


def quarter(state: list[int], a: int, b: int, c: int, d: int) -> None:
    for first, second, third, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        state[first] = (state[first] + state[second]) & 0xFFFFFFFF
        mixed = state[third] ^ state[first]
        state[third] = ((mixed << turn) | (mixed >> (32 - turn))) & 0xFFFFFFFF


def chacha20_block(key: bytes, counter: int) -> bytes:
    """RFC 8439, section 2.3, with a nonce of zeros."""
    words = struct.unpack("<8I", key)
    start = [*struct.unpack("<4I", b"expand 32-byte k"), *words, counter, 0, 0, 0]
    state = list(start)
    for _ in range(10):
        for column in range(4):
            quarter(state, column, column + 4, column + 8, column + 12)
        for k in range(4):
            quarter(state, k, 4 + (k + 1) % 4, 8 + (k + 2) % 4, 12 + (k + 3) % 4)
    return struct.pack("<16I", *((x + y) & 0xFFFFFFFF for x, y in zip(state, start, strict=True)))


# RFC 8439, appendix A.1, test vectors 1 and 2: the first two blocks under a key of zeros
BLOCKS = (
    "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
    "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
    "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
    "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
)


def test_the_keystream_is_that_of_rfc_8439() -> None:
    assert keystream(bytes(32)).update(bytes(128)).hex() == BLOCKS
    assert (chacha20_block(bytes(32), 0) + chacha20_block(bytes(32), 1)).hex() == BLOCKS


def test_a_mask_is_the_sum_of_keystreams_derived_by_the_book() -> None:
    """Against HMAC of the standard library and ChaCha20 as printed in the RFC."""
    keys = {"cuh": b"c" * 32, "qfs": b"q" * 32, "west": b"w" * 32}
    expected = [0] * 20
    for peer, sign in (("cuh", -1), ("qfs", 1), ("west", 1)):
        info = b"".join(
            len(part).to_bytes(8, "big") + part
            for part in (b"fedlnm-masking-1", b"keystream", CONTEXT, b"uint64 20")
        )
        extracted = hmac.digest(bytes(32), keys[peer], hashlib.sha256)
        key = hmac.digest(extracted, info + b"\x01", hashlib.sha256)
        stream = b"".join(chacha20_block(key, counter) for counter in range(3))
        for k, word in enumerate(struct.unpack_from("<20Q", stream)):
            expected[k] = (expected[k] + sign * word) % 2**64
    assert mask_vector(np.zeros(20, dtype=np.uint64), keys, "nan", CONTEXT).tolist() == expected
