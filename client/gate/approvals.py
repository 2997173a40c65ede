"""Studies that a hospital has approved, by digest; each entry is signed by the site."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from client.store.site_db import site_db
from common.errors import InputError, SignatureError
from common.masking import identity
from common.masking.fixed_point import framed, from_text, to_text

_PURPOSE = "approval"
_FEWEST_LETTERS = 8


@dataclass(frozen=True)
class Approval:
    """Approval of a study.

    Parameters
    ----------
    digest : of the study, hexadecimal.
    name : for people.
    date : UTC, ISO 8601.
    signature : of all the above, base64.
    """

    digest: str
    name: str
    date: str
    signature: str

    def message(self) -> bytes:
        """Return what is signed."""
        return framed("study", self.digest, self.name, self.date)


def read_approvals(work: Path, public: Ed25519PublicKey) -> tuple[Approval, ...]:
    """Return all approvals of a site; none when nothing was ever approved.

    Raises
    ------
    SignatureError : an entry was not made with the site's identity key.
    """
    found = tuple(Approval(*row) for row in site_db(work).approvals())
    for approval in found:
        try:
            signature = from_text(approval.signature, identity.SIGNATURE_BYTES)
            identity.verify(public, _PURPOSE, approval.message(), signature)
        except (ValueError, SignatureError):
            raise SignatureError(
                "an approval was not made with this site's identity key",
                where=f"approval of study {approval.digest[:12]}",
                remedy="nothing is answered: restore the whole work folder from its backup",
            ) from None
    return found


def approve(work: Path, private: Ed25519PrivateKey, digest: str, name: str) -> Approval:
    """Approve a study; approving once more renews the date."""
    read_approvals(work, private.public_key())
    date = datetime.now(UTC).isoformat(timespec="seconds")
    bare = Approval(digest, name, date, "")
    signature = to_text(identity.sign(private, _PURPOSE, bare.message()))
    made = dataclasses.replace(bare, signature=signature)
    site_db(work).approve([dataclasses.astuple(made)])
    return made


def revoke(work: Path, private: Ed25519PrivateKey, digest: str) -> Approval:
    """Take an approval back; it no longer holds from the next message on.

    Parameters
    ----------
    digest : its first letters, eight or more.

    Raises
    ------
    InputError : nothing approved begins like this, or more than one thing does.
    """
    found = read_approvals(work, private.public_key())
    meant = [approval for approval in found if approval.digest.startswith(digest)]
    if len(meant) != 1 or len(digest) < _FEWEST_LETTERS:
        raise InputError(
            f"{len(meant)} approvals begin like this",
            where=f"digest {digest[:16]}",
            remedy="see fedlnm-site approve --list; give eight letters or more",
        )
    site_db(work).revoke(meant[0].digest)
    return meant[0]
