"""Keys derived from a secret: HKDF with SHA-256 (RFC 5869)."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
# opens every derivation, context and signature: another release of the protocol, another number
PROTOCOL = "fedlnm-masking-1"


def hkdf_sha256(secret: bytes, *, salt: bytes, info: bytes, length: int = KEY_BYTES) -> bytes:
    """`length` bytes that only a holder of `secret` can tell from random ones.

    Parameters
    ----------
    secret : input keying material.
    salt : public; empty means 32 zero bytes.
    info : what the key is for; two different ones give unrelated keys.
    """
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)
