"""Numbers as integers of a ring Z_2^64 or Z_2^32: sums are exact in any order, masks cancel."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from common.statistics.base import Float

_LENGTH_BYTES = 8


def framed(*parts: str | bytes) -> bytes:
    """Join parts, each prefixed by its length, so that different sequences give different bytes."""
    pieces = [part.encode() if isinstance(part, str) else part for part in parts]
    return b"".join(len(piece).to_bytes(_LENGTH_BYTES, "big") + piece for piece in pieces)


def to_text(data: bytes) -> str:
    """Return the base64 (RFC 4648) of bytes, with padding."""
    return base64.b64encode(data).decode("ascii")


def from_text(text: str, size: int) -> bytes:
    """Return `size` bytes from their base64; each value has exactly one text.

    Raises
    ------
    ValueError : not the base64 of so many bytes.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        raise ValueError(f"not the base64 text of {size} bytes") from None
    if len(data) != size or to_text(data) != text:
        raise ValueError(f"not the base64 text of {size} bytes")
    return data


KEY_BYTES = 32
# opens every derivation, context and signature: another release of the protocol, another number
PROTOCOL = "fedlnm-masking-1"


def hkdf_sha256(secret: bytes, *, salt: bytes, info: bytes, length: int = KEY_BYTES) -> bytes:
    """Derive `length` bytes that only a holder of `secret` can distinguish from random.

    Parameters
    ----------
    secret : input keying material.
    salt : public; empty means 32 zero bytes.
    info : purpose of the key; different purposes give unrelated keys.
    """
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)


# of each width, one bit for the sign and one of headroom against rounding of the bound itself
_WIDTHS: dict[int, tuple[type[np.signedinteger[Any]], type[np.unsignedinteger[Any]]]] = {
    64: (np.int64, np.uint64),
    32: (np.int32, np.uint32),
}


def to_ring(values: Float, steps: Float, sites: int, bits: int = 64) -> NDArray[Any]:
    """Return the nearest multiples of twice the step, as ring elements.

    Parameters
    ----------
    values : (n,).
    steps : (n,), largest rounding allowed; powers of two.
    sites : how many such vectors will be added.
    bits : 64 or 32, width of the ring.

    Raises
    ------
    OverflowError : a number so large that the sum over the sites might wrap around.
    """
    signed, unsigned = _WIDTHS[bits]
    multiples = np.rint(values / (2.0 * steps))
    largest = 2.0 ** (bits - 2) / max(sites, 1)
    if not (np.abs(multiples) < largest).all():
        raise OverflowError(f"a number is too large for the fixed point of {sites} sites")
    return multiples.astype(signed).view(unsigned)


def from_ring(total: NDArray[Any], steps: Float) -> Float:
    """Return the numbers that a sum of ring elements (n,) represents; its dtype gives the width."""
    signed, _ = _WIDTHS[8 * total.itemsize]
    return total.view(signed).astype(np.float64) * (2.0 * steps)
