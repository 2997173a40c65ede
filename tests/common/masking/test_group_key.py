from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from common.errors import SignatureError
from common.masking.group_key import (
    SEALED_BYTES,
    contribution,
    group_key,
    prf,
    seal,
    unseal,
)

KEYS = st.binary(min_size=32, max_size=32)
CONTRIBUTIONS = st.dictionaries(st.text(min_size=1, max_size=5), KEYS, min_size=1, max_size=6)


def raw(key: X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def test_only_the_recipient_opens_what_was_sealed_for_it_in_this_context() -> None:
    sender, recipient, other = (X25519PrivateKey.generate() for _ in range(3))
    own = contribution()
    sealed = seal(own, sender, raw(recipient), b"context")
    assert len(sealed) == SEALED_BYTES
    assert own not in sealed
    assert unseal(sealed, recipient, raw(sender), b"context") == own
    for key, public, context in (
        (other, raw(sender), b"context"),
        (recipient, raw(other), b"context"),
        (recipient, raw(sender), b"contexT"),
        (sender, raw(recipient), b"context"),  # reflected to its sender
    ):
        with pytest.raises(SignatureError, match="not sealed for this site"):
            unseal(sealed, key, public, context)


def test_a_sealed_contribution_changed_in_any_byte_does_not_open() -> None:
    sender, recipient = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    sealed = seal(contribution(), sender, raw(recipient), b"context")
    changed = [sealed[:k] + bytes([sealed[k] ^ 1]) + sealed[k + 1 :] for k in range(len(sealed))]
    for one in (*changed, sealed[:-1], sealed + b"0", b""):
        with pytest.raises(SignatureError):
            unseal(one, recipient, raw(sender), b"context")


def test_sealing_twice_gives_different_bytes() -> None:
    sender, recipient = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    own = contribution()
    assert len({seal(own, sender, raw(recipient), b"context") for _ in range(20)}) == 20


def test_a_public_key_that_gives_no_secret_is_a_typed_error() -> None:
    with pytest.raises(SignatureError, match="gives no secret"):
        seal(contribution(), X25519PrivateKey.generate(), bytes(32), b"context")


def test_contributions_are_random() -> None:
    assert len({contribution() for _ in range(100)}) == 100
    assert {len(contribution()) for _ in range(10)} == {32}


@given(CONTRIBUTIONS, st.binary(), st.data())
def test_the_order_in_which_contributions_arrive_does_not_matter(
    contributions: dict[str, bytes], transcript: bytes, data: st.DataObject
) -> None:
    names = data.draw(st.permutations(sorted(contributions)))
    shuffled = {name: contributions[name] for name in names}
    assert group_key(shuffled, transcript) == group_key(contributions, transcript)


@given(CONTRIBUTIONS, st.binary(), st.data())
def test_any_bit_of_any_contribution_name_or_transcript_changes_the_key(
    contributions: dict[str, bytes], transcript: bytes, data: st.DataObject
) -> None:
    site = data.draw(st.sampled_from(sorted(contributions)))
    bit = data.draw(st.integers(0, 255))
    own = int.from_bytes(contributions[site], "big") ^ (1 << bit)
    others = {name: value for name, value in contributions.items() if name != site}
    keys = {
        group_key(contributions, transcript),
        group_key({**contributions, site: own.to_bytes(32, "big")}, transcript),
        group_key({**others, f"{site}2{'x' * 9}": contributions[site]}, transcript),
        group_key(contributions, transcript + b"\0"),
    }
    assert len(keys) == 4


def test_two_sites_that_swap_contributions_change_the_key() -> None:
    one, other = contribution(), contribution()
    assert group_key({"a": one, "b": other}, b"") != group_key({"a": other, "b": one}, b"")


@pytest.mark.parametrize("contributions", [{}, {"a": b"short"}, {"a": bytes(32), "b": bytes(33)}])
def test_contributions_of_another_length_or_none_are_refused(
    contributions: dict[str, bytes],
) -> None:
    with pytest.raises(ValueError, match="contributions of 32 bytes"):
        group_key(contributions, b"transcript")


def test_purpose_and_context_give_unrelated_keys() -> None:
    key = contribution()
    derived = {prf(key, "rho", b"c"), prf(key, "pad", b"c"), prf(key, "rho", b"d")}
    derived |= {prf(key, "rh", b"oc"), prf(contribution(), "rho", b"c"), key}
    assert len(derived) == 6
    assert prf(key, "rho", b"c") == prf(key, "rho", b"c")
    with pytest.raises(ValueError, match="32 bytes"):
        prf(b"short", "rho", b"c")
