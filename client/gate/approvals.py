"""Studies that a hospital has approved, by digest; each entry is signed by the site."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import TypeAdapter, ValidationError

from common.errors import InputError, SignatureError
from common.masking import identity
from common.masking.fixed_point import framed, from_text, to_text
from common.utils.durable import write_durably

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


_ENTRIES = TypeAdapter(list[dict[str, str]])
_APPROVALS = TypeAdapter(tuple[Approval, ...])


def approvals_path(work: Path) -> Path:
    """Return the file of approvals in a site's work folder."""
    return work / "approvals.json"


def read_approvals(work: Path, public: Ed25519PublicKey) -> tuple[Approval, ...]:
    """Return all approvals of a site; none when nothing was ever approved.

    A site that took part with release 0.1.0 has approved apps too; those entries say nothing now.

    Raises
    ------
    InputError : the file is not one of approvals.
    SignatureError : an entry was not made with the site's identity key.
    """
    path = approvals_path(work)
    if not path.is_file():
        return ()
    try:
        entries = _ENTRIES.validate_json(path.read_bytes(), strict=True)
        found = _APPROVALS.validate_python([one for one in entries if one.get("kind") != "app"])
    except ValidationError:
        raise InputError(
            "not a file of approvals",
            where=path.name,
            remedy="move it away and approve the study again",
        ) from None
    for approval in found:
        _verify(approval, public)
    return found


def approve(work: Path, private: Ed25519PrivateKey, digest: str, name: str) -> Approval:
    """Approve a study; approving once more renews the date."""
    others = [one for one in read_approvals(work, private.public_key()) if one.digest != digest]
    date = datetime.now(UTC).isoformat(timespec="seconds")
    bare = Approval(digest, name, date, "")
    signature = to_text(identity.sign(private, _PURPOSE, bare.message()))
    made = dataclasses.replace(bare, signature=signature)
    _write(work, [*others, made])
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
    _write(work, [approval for approval in found if approval != meant[0]])
    return meant[0]


def _verify(approval: Approval, public: Ed25519PublicKey) -> None:
    try:
        signature = from_text(approval.signature, identity.SIGNATURE_BYTES)
        identity.verify(public, _PURPOSE, approval.message(), signature)
    except (ValueError, SignatureError):
        raise SignatureError(
            "an approval was not made with this site's identity key",
            where=f"approvals.json, study {approval.digest[:12]}",
            remedy="nothing is answered until the file is moved away and all is approved again",
        ) from None


def _write(work: Path, approvals: list[Approval]) -> None:
    text = json.dumps([dataclasses.asdict(approval) for approval in approvals], indent=1)
    write_durably(approvals_path(work), text.encode() + b"\n")
