"""Identity of a site: a lasting Ed25519 key (RFC 8032), and its signatures."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from common.errors import InputError, SignatureError
from common.masking.fixed_point import PROTOCOL, framed, from_text, to_text

PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64
_FINGERPRINT_LETTERS, _GROUP = 20, 4
_LARGEST_FILE = 4096
_PRIME = 2**255 - 19
# y of the eight points of small order: anyone can forge a signature under such a key
_SMALL_ORDER = frozenset(
    {
        0,
        1,
        _PRIME - 1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    }
)


@dataclass(frozen=True)
class Identity:
    """Loaded identity key.

    `warning` is empty unless other users of the machine can access the key file.
    """

    private: Ed25519PrivateKey = field(repr=False)
    warning: str


def generate() -> Ed25519PrivateKey:
    """Return a new identity key."""
    return Ed25519PrivateKey.generate()


def save(private: Ed25519PrivateKey, path: Path) -> None:
    """Write the key as PEM (PKCS 8, not encrypted), readable by the owner alone.

    Raises
    ------
    InputError : a file of that name exists, or it cannot be written.
    """
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        if path.exists():
            raise InputError(
                "there is an identity key already, and it is never overwritten",
                where=path.name,
                remedy="keep it, or move it away if the study is to get a new public key",
            )
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # O_EXCL also protects a file created since the check above, or a dangling link
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise InputError(
            f"the identity key cannot be written ({error.strerror})",
            where=path.name,
            remedy="choose a folder that this user may write to",
        ) from None


def load(path: Path) -> Identity:
    """Read a key written by `save`.

    Raises
    ------
    InputError : no such file, or not an unencrypted Ed25519 key in PEM.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            pem = file.read(_LARGEST_FILE)
    except OSError as error:
        raise InputError(
            f"the identity key cannot be read ({error.strerror})",
            where=path.name,
            remedy="make one once per site, and name its file in site.toml",
        ) from None
    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise InputError(
            "not an unencrypted Ed25519 key in PEM",
            where=path.name,
            remedy="restore the file from the site's backup, or make a new identity key",
        )
    return Identity(private, _exposure(path.name, mode))


def _exposure(name: str, mode: int) -> str:
    if os.name != "posix" or not mode & 0o077:
        return ""
    return f"{name}: other users may use this key (mode {mode:04o}) -> chmod 600 {name}"


def public_text(public: Ed25519PublicKey) -> str:
    """Return the base64 of the 32 bytes, as in study.toml (`sites[].public_key`)."""
    return to_text(public.public_bytes_raw())


def public_key(text: str) -> Ed25519PublicKey:
    """Return the key of a `public_text`.

    Raises
    ------
    InputError : not the base64 of 32 bytes, or a key under which anyone can sign.
    """
    remedy = "copy the public key from the site's own screen, and compare fingerprints by phone"
    try:
        raw = from_text(text, PUBLIC_BYTES)
    except ValueError as error:
        raise InputError(str(error), where="public_key", remedy=remedy) from None
    y = (int.from_bytes(raw, "little") & (2**255 - 1)) % _PRIME
    if y in _SMALL_ORDER:
        raise InputError(
            "a key under which anyone can sign (a point of small order)",
            where="public_key",
            remedy=remedy,
        )
    return Ed25519PublicKey.from_public_bytes(raw)


def fingerprint(public: Ed25519PublicKey) -> str:
    """Return 100 bits of the key's SHA-256 in base32, in groups of four, to read out by phone."""
    digest = hashlib.sha256(public.public_bytes_raw()).digest()
    letters = base64.b32encode(digest).decode("ascii")[:_FINGERPRINT_LETTERS]
    return "-".join(letters[i : i + _GROUP] for i in range(0, len(letters), _GROUP))


def sign(private: Ed25519PrivateKey, purpose: str, message: bytes) -> bytes:
    """Return a signature (64 bytes) that holds for this purpose only."""
    return private.sign(framed(PROTOCOL, purpose, message))


def verify(public: Ed25519PublicKey, purpose: str, message: bytes, signature: bytes) -> None:
    """Check that `signature` was made over `message` for this purpose.

    Raises
    ------
    SignatureError : it was not.
    """
    try:
        public.verify(signature, framed(PROTOCOL, purpose, message))
    except InvalidSignature:
        raise SignatureError(
            f"the signature of the {purpose} does not hold",
            where=f"key {fingerprint(public)}",
            remedy="compare the fingerprint with the site by phone; do not go on until they agree",
        ) from None
