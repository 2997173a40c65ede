"""Signed statement of a hospital that leaves for good, and whose sums may follow by subtraction.

Sums over all hospitals minus the same sums over those that stay are the leaving hospital's own. So
only that hospital can allow them, with the identity key under which it took part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, Field

from common.errors import InputError, SignatureError
from common.masking import identity
from common.masking.fixed_point import framed, from_text, to_text

SITE = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
_PURPOSE = "statement of leaving"
# signed with the rest, so that nobody can claim it meant less
_MEANING = (
    "This hospital leaves the hospitals of this roster for good. The same sums may be given again"
    " without it, and its own numbers may be found by subtraction."
)


class LeftSite(BaseModel):
    """Statement of leaving, as `[[left]]` in study.toml.

    Parameters
    ----------
    site : name of the hospital on the roster it leaves.
    public_key : its identity key there (base64).
    roster : digest of that roster (hexadecimal), from `common.masking.agreement.roster_digest`.
    signature : Ed25519 (base64) over meaning, name, key and roster.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    site: str = Field(pattern=SITE)
    public_key: str
    roster: str = Field(pattern=r"^[0-9a-f]{64}$")
    signature: str

    @classmethod
    def sign(cls, private: Ed25519PrivateKey, site: str, roster: str) -> Self:
        """Sign the statement with the site's identity key."""
        key, signature = sign_statement(private, _PURPOSE, lambda key: _message(site, key, roster))
        return cls(site=site, public_key=key, roster=roster, signature=signature)

    def verify(self) -> None:
        """Check that the key named in the statement signed it.

        The statement cannot prove whose key that is: compare it with the key on the roster.

        Raises
        ------
        SignatureError : another key signed it, or the key or the signature cannot be read.
        """
        check_statement(
            self,
            _PURPOSE,
            _message(self.site, self.public_key, self.roster),
            "its statement of leaving is not one that it signed",
            "use the file as fedlnm-site leave wrote it at that hospital",
        )


def _message(site: str, public_key: str, roster: str) -> bytes:
    return framed(_MEANING, site, public_key, roster)


class Statement(Protocol):
    """Statement that one hospital signs about itself."""

    @property
    def site(self) -> str:
        """Its name on the roster that it leaves."""

    @property
    def public_key(self) -> str:
        """The key that signs (base64)."""

    @property
    def signature(self) -> str:
        """Ed25519 (base64)."""


def sign_statement(
    private: Ed25519PrivateKey, purpose: str, message: Callable[[str], bytes]
) -> tuple[str, str]:
    """Return the public key and the signature of a statement (both base64).

    Parameters
    ----------
    message : returns the signed bytes for the public key.
    """
    key = identity.public_text(private.public_key())
    return key, to_text(identity.sign(private, purpose, message(key)))


def check_statement(
    statement: Statement, purpose: str, message: bytes, what: str, remedy: str
) -> None:
    """Check that the key named in a statement signed it.

    Raises
    ------
    SignatureError : another key signed it, or the key or the signature cannot be read; with these
        words.
    """
    try:
        public = identity.public_key(statement.public_key)
        signature = from_text(statement.signature, identity.SIGNATURE_BYTES)
        identity.verify(public, purpose, message, signature)
    except (InputError, SignatureError, ValueError):
        raise SignatureError(what, where=f"site {statement.site}", remedy=remedy) from None
