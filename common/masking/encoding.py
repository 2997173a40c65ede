"""Byte strings that can be read in one way only, and their text for files and messages."""

from __future__ import annotations

import base64

_LENGTH_BYTES = 8


def framed(*parts: str | bytes) -> bytes:
    """The parts, each behind its length, so that no two sequences of parts give the same bytes."""
    pieces = [part.encode() if isinstance(part, str) else part for part in parts]
    return b"".join(len(piece).to_bytes(_LENGTH_BYTES, "big") + piece for piece in pieces)


def to_text(data: bytes) -> str:
    """Base64 (RFC 4648) with padding."""
    return base64.b64encode(data).decode("ascii")


def from_text(text: str, size: int) -> bytes:
    """Inverse of `to_text` for `size` bytes; each value has exactly one text.

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
