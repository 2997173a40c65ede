"""Signature of a bundle's files, which proves that nobody changed them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from common.errors import SignatureError
from common.masking import identity
from common.masking.fixed_point import from_text, to_text
from common.utils.bounded import MOST_SETTINGS, parse_json

Files = dict[str, NDArray[np.uint8]]
SIGNATURE_FILE = "signature.json"
_PURPOSE = "bundle"


def sign_files(files: Files, private: Ed25519PrivateKey) -> Files:
    """Return the files with `signature.json`, over the names and contents of all others."""
    signature = identity.sign(private, _PURPOSE, _content(files))
    public = identity.public_text(private.public_key())
    text = json.dumps({"public_key": public, "signature": to_text(signature)}, indent=1)
    return {**files, SIGNATURE_FILE: np.frombuffer(text.encode(), dtype=np.uint8)}


def check_files(files: Mapping[str, NDArray[np.uint8]], public_key: str) -> None:
    """Check that the holder of this key (base64) signed exactly these files.

    Raises
    ------
    SignatureError : no signature, one of another key, or a file was changed, added or removed.
    """
    try:
        stored = parse_json(files[SIGNATURE_FILE].tobytes(), MOST_SETTINGS)
        signature = from_text(stored["signature"], identity.SIGNATURE_BYTES)
    except (KeyError, ValueError, TypeError):
        raise SignatureError(
            "the bundle is not signed",
            where=SIGNATURE_FILE,
            remedy="take the bundle from the coordinator's run, whole",
        ) from None
    identity.verify(identity.public_key(public_key), _PURPOSE, _content(files), signature)


def digest_of(files: Mapping[str, NDArray[np.uint8]]) -> str:
    """Return the SHA-256 (hex) over the names and contents of all files but the signature."""
    return hashlib.sha256(_content(files)).hexdigest()


def signer_of(files: Mapping[str, NDArray[np.uint8]]) -> str:
    """Return the key (base64) in `signature.json`, empty without one; it proves nothing yet."""
    try:
        key = parse_json(files[SIGNATURE_FILE].tobytes(), MOST_SETTINGS)["public_key"]
    except (KeyError, ValueError, TypeError):
        return ""
    return key if isinstance(key, str) else ""


def _content(files: Mapping[str, NDArray[np.uint8]]) -> bytes:
    digests = {
        name: hashlib.sha256(data.tobytes()).hexdigest()
        for name, data in files.items()
        if name != SIGNATURE_FILE
    }
    return json.dumps(digests, sort_keys=True).encode()
