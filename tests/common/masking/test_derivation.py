"""Test vectors of RFC 5869, appendix A."""

from __future__ import annotations

import pytest

from common.masking.fixed_point import hkdf_sha256


def octets(first: int, last: int) -> bytes:
    return bytes(range(first, last + 1))


@pytest.mark.parametrize(
    ("secret", "salt", "info", "expected"),
    [
        (
            b"\x0b" * 22,
            octets(0x00, 0x0C),
            octets(0xF0, 0xF9),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            octets(0x00, 0x4F),
            octets(0x60, 0xAF),
            octets(0xB0, 0xFF),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
            "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
            "cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            b"\x0b" * 22,
            b"",
            b"",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
)
def test_keys_are_those_of_rfc_5869(secret: bytes, salt: bytes, info: bytes, expected: str) -> None:
    made = hkdf_sha256(secret, salt=salt, info=info, length=len(expected) // 2)
    assert made.hex() == expected
