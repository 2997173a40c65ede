from __future__ import annotations

import base64
import hashlib
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from common.errors import InputError, SignatureError
from common.masking import identity

PRIME = 2**255 - 19
# RFC 8032, section 7.1, tests 1 to 3: secret key, public key, message, signature
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


def key_of(text: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_keys_and_signatures_are_those_of_rfc_8032(
    secret: str, public: str, message: str, signature: str
) -> None:
    private = key_of(secret)
    assert private.sign(bytes.fromhex(message)).hex() == signature
    assert identity.public_text(private.public_key()) == (
        base64.b64encode(bytes.fromhex(public)).decode()
    )


def test_a_signature_covers_protocol_purpose_and_message() -> None:
    private = key_of(RFC_8032[0][0])
    covered = b"".join(
        len(part).to_bytes(8, "big") + part for part in (b"fedlnm-masking-1", b"ledger", b"line")
    )
    assert identity.sign(private, "ledger", b"line") == private.sign(covered)


def test_a_saved_key_comes_back_and_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "site" / "identity.pem"
    private = identity.generate()
    identity.save(private, path)
    loaded = identity.load(path)
    assert loaded.private.private_bytes_raw() == private.private_bytes_raw()
    assert loaded.warning == ""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("-----BEGIN PRIVATE KEY-----")


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "identity.pem"
    identity.save(identity.generate(), path)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"identity\.pem: there is an identity key already"):
        identity.save(identity.generate(), path)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        identity.save(identity.generate(), tmp_path / "file" / "identity.pem")


@pytest.mark.skipif(os.name != "posix", reason="file modes of POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_can_reach_comes_with_a_warning(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "identity.pem"
    identity.save(identity.generate(), path)
    path.chmod(mode)
    assert f"(mode {mode:04o}) -> chmod 600 identity.pem" in identity.load(path).warning


def pem(private: Ed25519PrivateKey | X25519PrivateKey, password: bytes = b"") -> bytes:
    lock = BestAvailableEncryption(password) if password else NoEncryption()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)


def test_what_is_not_a_plain_ed25519_key_is_refused_without_its_content(tmp_path: Path) -> None:
    whole = pem(identity.generate())
    contents = {
        "empty": b"",
        "cut": whole[:60],
        "locked": pem(identity.generate(), b"password"),
        "other kind": pem(X25519PrivateKey.generate()),
    }
    for name, content in contents.items():
        path = tmp_path / f"{name}.pem"
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{name}.pem: not an unencrypted Ed25519") as caught:
            identity.load(path)
        assert str(tmp_path) not in str(caught.value)
        assert caught.value.remedy
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_missing_key_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"identity\.pem: .*cannot be read.* -> make one"):
        identity.load(tmp_path / "identity.pem")


def test_a_printed_identity_does_not_show_its_key() -> None:
    private = identity.generate()
    assert "rivate" not in repr(identity.Identity(private, ""))


def test_public_keys_come_back_from_their_text() -> None:
    public = identity.generate().public_key()
    assert identity.public_key(identity.public_text(public)) == public


@pytest.mark.parametrize("text", ["", "abc", "A" * 44])
def test_a_text_that_is_no_key_is_an_input_error(text: str) -> None:
    with pytest.raises(InputError, match="public_key: not the base64 text of 32 bytes"):
        identity.public_key(text)


def small_order_heights() -> set[int]:
    """y of the points whose order divides 8 on the twisted Edwards curve of RFC 8032, section 5.1.

    From doubling formulas: order 4 has y = 0; of order 8 are the points that double to y = 0, so
    y^2 = -x^2 and the curve equation becomes d y^4 + 2 y^2 - 1 = 0.
    """
    d = -121665 * pow(121666, -1, PRIME) % PRIME
    root_of_minus_one = pow(2, (PRIME - 1) // 4, PRIME)

    def roots(square: int) -> set[int]:
        root = pow(square, (PRIME + 3) // 8, PRIME)
        found = {root, root * root_of_minus_one % PRIME}
        return {y for r in found if r * r % PRIME == square for y in (r, PRIME - r)}

    heights = {0, 1, PRIME - 1}
    for root in roots((1 + d) % PRIME):
        heights |= roots((root - 1) * pow(d, -1, PRIME) % PRIME)
    return heights


def test_keys_under_which_anyone_can_sign_are_refused() -> None:
    heights = small_order_heights()
    assert len(heights) == 5
    encodings = [y + extra for y in heights for extra in (0, PRIME) if y + extra < 2**255]
    assert len(encodings) == 7
    for y in encodings:
        for sign in (0, 1 << 255):
            raw = (y | sign).to_bytes(32, "little")
            with pytest.raises(InputError, match="under which anyone can sign"):
                identity.public_key(base64.b64encode(raw).decode())


def test_fingerprints_are_the_start_of_the_sha256_in_base32() -> None:
    public = key_of(RFC_8032[0][0]).public_key()
    spoken = identity.fingerprint(public)
    assert [len(group) for group in spoken.split("-")] == [4, 4, 4, 4, 4]
    whole = base64.b32encode(hashlib.sha256(bytes.fromhex(RFC_8032[0][1])).digest()).decode()
    assert whole.startswith(spoken.replace("-", ""))


def test_a_signature_holds_for_its_key_purpose_and_message_only() -> None:
    private = identity.generate()
    public = private.public_key()
    signature = identity.sign(private, "ledger", b"message")
    identity.verify(public, "ledger", b"message", signature)
    other = identity.generate().public_key()
    changed = bytes([signature[0] ^ 1]) + signature[1:]
    for arguments in (
        (other, "ledger", b"message", signature),
        (public, "roster", b"message", signature),
        (public, "ledger", b"messagf", signature),
        (public, "ledger", b"message", changed),
        (public, "ledger", b"message", b""),
        (public, "ledgerm", b"essage", signature),
    ):
        with pytest.raises(SignatureError, match="does not hold"):
            identity.verify(*arguments)
