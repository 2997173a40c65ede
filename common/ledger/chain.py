"""Chain of a ledger: each entry is signed and bound to the one before, the head to the last.

A chain alone cannot show that its end was cut off; the head, a second small signed file, gives the
number of entries. An old ledger that is put back together with its old head contradicts what the
site has signed since (`common.ledger.receipt`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import TypeAdapter, ValidationError

from common.errors import InputError, SignatureError
from common.ledger.entry import Entry, Record, canonical, hash_of
from common.masking import identity
from common.masking.fixed_point import from_text, to_text
from common.utils.bounded import MOST_SETTINGS, read_bytes

FIRST = "0" * 64
_ENTRY_PURPOSE, _HEAD_PURPOSE = "ledger entry", "ledger head"


@dataclass(frozen=True)
class Head:
    """End of a ledger.

    Parameters
    ----------
    count, hash, size : entries, hash of the last (zeros if none), bytes they take.
    key : public key that signs it (base64), which names the ledger's owner.
    signature : Ed25519 (base64) over the other fields.
    """

    count: int
    hash: str
    size: int
    key: str
    signature: str = ""

    def signed(self, private: Ed25519PrivateKey) -> Head:
        """Return this head with its signature."""
        signature = _sign(private, _HEAD_PURPOSE, self._content())
        return dataclasses.replace(self, signature=signature)

    def is_by(self, public_key: Ed25519PublicKey) -> bool:
        """Return whether this key signed it."""
        return _holds(public_key, _HEAD_PURPOSE, self._content(), self.signature)

    def text(self) -> bytes:
        """Return the content of its file."""
        return canonical(dataclasses.asdict(self)) + b"\n"

    def _content(self) -> str:
        return hash_of(dataclasses.asdict(dataclasses.replace(self, signature="")))


_HEAD = TypeAdapter(Head)


def head_path(ledger: Path) -> Path:
    """Return the path of the head's file, beside the ledger."""
    return ledger.with_suffix(".head.json")


def entry_is_by(public_key: Ed25519PublicKey, entry: Entry) -> bool:
    """Return whether this key signed the entry's hash."""
    return _holds(public_key, _ENTRY_PURPOSE, entry.hash, entry.signature)


def _holds(public_key: Ed25519PublicKey, purpose: str, digest: str, signature: str) -> bool:
    try:
        raw = from_text(signature, identity.SIGNATURE_BYTES)
        identity.verify(public_key, purpose, digest.encode(), raw)
    except (SignatureError, ValueError):
        return False
    return True


def _sign(private: Ed25519PrivateKey, purpose: str, digest: str) -> str:
    return to_text(identity.sign(private, purpose, digest.encode()))


def seal(
    record: Record, *, number: int, time: str, previous: str, private: Ed25519PrivateKey
) -> Entry:
    """Turn the record into the entry that follows the one with hash `previous`."""
    kept = record.writable()
    fields = {f.name: getattr(kept, f.name) for f in dataclasses.fields(Record)}
    entry = Entry(**fields, number=number, time=time, previous=previous, hash="", signature="")
    digest = entry.content_hash()
    signature = _sign(private, _ENTRY_PURPOSE, digest)
    return dataclasses.replace(entry, hash=digest, signature=signature)


def read_head(path: Path) -> Head | None:
    """Return the the head on disk, None when there is none.

    Raises
    ------
    ValueError : the file is not a head.
    """
    if not path.is_file():
        return None
    try:
        written = read_bytes(path, MOST_SETTINGS)
        head = _HEAD.validate_json(written, strict=True)
    except (ValidationError, InputError):
        raise ValueError("not the head of a ledger") from None
    if head.text() != written:
        raise ValueError("not written as heads are")
    return head
