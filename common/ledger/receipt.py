"""Receipts: a site's signed statement about one reply and about the end of its ledger.

A receipt travels beside its reply, and the newest of every site beside each request. So a site's
reply can be held against it, and a ledger that was put back to an older copy contradicts a receipt.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import TypeAdapter, ValidationError

from common.errors import SignatureError
from common.ledger.entry import hash_of, request_digest
from common.masking import identity
from common.masking.fixed_point import from_text, to_text

_PURPOSE = "receipt"


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """Statement of a site.

    Parameters
    ----------
    site : its name.
    session : of the enrolment that the request belongs to; empty where a request names none.
    request, reply : digests, from `question_of` and `common.messages.codec.digest_of`.
    entries, ledger : number of entries of its ledger when the reply left, and hash of the last.
    signature : Ed25519 (base64) of its identity key over the other fields.
    """

    site: str
    session: str
    request: str
    reply: str
    entries: int
    ledger: str
    signature: str = ""

    def signed(self, private: Ed25519PrivateKey) -> Self:
        """Return this receipt with its signature."""
        signature = identity.sign(private, _PURPOSE, self._content())
        return dataclasses.replace(self, signature=to_text(signature))

    def is_by(self, public: Ed25519PublicKey) -> bool:
        """Return whether this key signed it."""
        try:
            raw = from_text(self.signature, identity.SIGNATURE_BYTES)
            identity.verify(public, _PURPOSE, self._content(), raw)
        except (SignatureError, ValueError):
            return False
        return True

    def _content(self) -> bytes:
        return hash_of(dataclasses.asdict(dataclasses.replace(self, signature=""))).encode()


_RECEIPT = TypeAdapter(Receipt)


def question_of(request: Any) -> str:
    """Return the digest (hex) of a request: kind, run, study, and what a reply repeats."""
    session = getattr(request, "session", "")
    echo = {name: request.echo[name] for name in sorted(request.echo)}
    return request_digest(type(request).__name__, request.run, request.study, session, echo)


def read_receipt(text: str) -> Receipt:
    """Return the receipt that is written as JSON.

    Raises
    ------
    ValueError : the text is none.
    """
    try:
        return _RECEIPT.validate_json(text, strict=True)
    except (ValidationError, RecursionError):
        raise ValueError("not a receipt") from None
