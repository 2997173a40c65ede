"""Key that all sites of a run share and the coordinator does not: each site contributes to it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from common.errors import SignatureError
from common.masking.fixed_point import KEY_BYTES, PROTOCOL, framed, hkdf_sha256

_PURPOSE = "group key"
_NONCE_BYTES, _TAG_BYTES = 12, 16
SEALED_BYTES = _NONCE_BYTES + KEY_BYTES + _TAG_BYTES


def contribution() -> bytes:
    """Return the 32 random bytes that a site contributes to the group key."""
    return os.urandom(KEY_BYTES)


def seal(
    contribution: bytes, own_private: X25519PrivateKey, other_public: bytes, context: bytes
) -> bytes:
    """Encrypt a contribution for one other site (ChaCha20-Poly1305, RFC 8439).

    Parameters
    ----------
    contribution : 32 bytes, from `contribution`.
    own_private : the sender's ephemeral key.
    other_public : the recipient's ephemeral key, 32 bytes, checked by `check_roster`.
    context : run, study, roster and enrolment; `unseal` needs the same bytes.

    Returns
    -------
    bytes of length `SEALED_BYTES`, different at every call.

    Raises
    ------
    SignatureError : a public key that gives no secret.
    ValueError : a contribution of another length.
    """
    if len(contribution) != KEY_BYTES:
        raise ValueError(f"a contribution has {KEY_BYTES} bytes")
    own = own_private.public_key().public_bytes_raw()
    nonce = os.urandom(_NONCE_BYTES)
    cipher = _cipher(own_private, other_public, own, other_public, context)
    return nonce + cipher.encrypt(nonce, contribution, None)


def unseal(
    sealed: bytes, own_private: X25519PrivateKey, other_public: bytes, context: bytes
) -> bytes:
    """Decrypt the contribution (32 bytes) that another site sealed for this one.

    Parameters
    ----------
    sealed : from `seal`, as passed on by the coordinator; nothing in it is trusted.
    own_private : the recipient's ephemeral key.
    other_public : the sender's ephemeral key, 32 bytes.

    Raises
    ------
    SignatureError : sealed by or for another key, in another context, or changed on the way.
    """
    own = own_private.public_key().public_bytes_raw()
    cipher = _cipher(own_private, other_public, other_public, own, context)
    try:
        if len(sealed) != SEALED_BYTES:
            raise InvalidTag
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
    except InvalidTag:
        raise _wrong("a contribution was not sealed for this site in this run") from None


def group_key(contributions: Mapping[str, bytes], transcript: bytes) -> bytes:
    """Return the group key, 32 bytes: unknown to anyone who lacks a single contribution.

    Parameters
    ----------
    contributions : by site, 32 bytes each, in any order.
    transcript : everything that the sites must agree on: another transcript, an unrelated key.

    Raises
    ------
    ValueError : no contributions, or one of another length.
    """
    if not contributions or any(len(one) != KEY_BYTES for one in contributions.values()):
        raise ValueError(f"a group key takes contributions of {KEY_BYTES} bytes")
    parts = [part for site in sorted(contributions) for part in (site, contributions[site])]
    info = framed(PROTOCOL, _PURPOSE, transcript)
    return hkdf_sha256(framed(*parts), salt=b"", info=info)


def prf(key: bytes, label: str, context: bytes) -> bytes:
    """Derive 32 bytes for one purpose and context; nobody without the key tells them from random.

    Raises
    ------
    ValueError : a key of another length than 32 bytes.
    """
    if len(key) != KEY_BYTES:
        raise ValueError(f"a group key has {KEY_BYTES} bytes")
    return hkdf_sha256(key, salt=b"", info=framed(PROTOCOL, "group prf", label, context))


def _cipher(
    own_private: X25519PrivateKey, other_public: bytes, sender: bytes, to: bytes, context: bytes
) -> ChaCha20Poly1305:
    """Return the cipher of one direction between two sites, apart from the keys of their masks."""
    try:
        shared = own_private.exchange(X25519PublicKey.from_public_bytes(other_public))
    except ValueError:
        raise _wrong("the ephemeral key of a site gives no secret") from None
    info = framed(PROTOCOL, _PURPOSE, "seal", sender, to, context)
    return ChaCha20Poly1305(hkdf_sha256(shared, salt=b"", info=info))


def _wrong(what: str) -> SignatureError:
    return SignatureError(
        what,
        where=_PURPOSE,
        remedy="let all sites announce new keys for this run; if it happens again, ask the sites",
    )
