"""Whose patients a release was about, kept at the site and in a form that names nobody.

Two sums over cohorts that differ by one patient give that patient away by subtraction, so a cohort
may change by nobody or by many. The sets are digests under a key that never leaves the site: no
one else can try out ids.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import stat
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from client.store.state import safe_name
from common.errors import InputError, StudyError
from common.messages.exchanges import Refusal
from common.utils.durable import create_durably, write_durably

KEY_BYTES = 32
SMALLEST_CHANGE = 10
_HEX_DIGITS = 64


@dataclass(frozen=True)
class Membership:
    """Keyed digests (hex) of the patients of one subset."""

    members: frozenset[str]

    @property
    def digest(self) -> str:
        """What stands in the ledger: SHA-256 of the sorted members."""
        return hashlib.sha256("\n".join(sorted(self.members)).encode()).hexdigest()


class Memberships:
    """The memberships of a site's releases, in private files beside its ledger.

    Parameters
    ----------
    work : the site's work folder; the key is made in it on first use.

    Raises
    ------
    InputError : the key file is damaged, or others on the machine can read it.
    """

    def __init__(self, work: Path) -> None:
        self._folder = work / "memberships"
        self._key = load_key(work / "membership.key")

    def of(self, patient_ids: Iterable[str]) -> Membership:
        """The membership of these patients; neither order nor repetition matters."""
        return Membership(frozenset(self._member(patient_id) for patient_id in patient_ids))

    def keep(self, membership: Membership) -> str:
        """Store a membership and return its digest; before the release is written down."""
        path = self._path(membership.digest)
        if not path.is_file():
            write_durably(path, "".join(f"{m}\n" for m in sorted(membership.members)).encode())
        return membership.digest

    def recall(self, digest: str) -> Membership:
        """The membership of this digest.

        Raises
        ------
        StudyError : it is not there, or no longer has the digest; then no rule can be checked.
        """
        path = self._path(digest)
        stored = path.read_text(encoding="ascii", errors="replace") if path.is_file() else ""
        membership = Membership(frozenset(stored.split()))
        if membership.digest != digest or not path.is_file():
            raise StudyError(
                "whom an earlier release was about is lost or damaged",
                where=f"memberships/{path.name}",
                remedy="restore the site's work folder from its backup",
            )
        return membership

    def _member(self, patient_id: str) -> str:
        text = unicodedata.normalize("NFC", patient_id)
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def _path(self, digest: str) -> Path:
        return self._folder / f"{safe_name(digest)}.txt"


def load_key(path: Path) -> bytes:
    """The site's membership key (32 bytes), made with mode 0600 when there is none.

    Raises
    ------
    InputError : it is not such a key, or others can read it.
    """
    if not path.is_file():
        create_durably(path, secrets.token_hex(KEY_BYTES).encode() + b"\n")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise InputError(
            "other users of this machine can read the key",
            where=path.name,
            remedy=f"chmod 600 {path.name}",
        )
    written = path.read_bytes().strip()
    try:
        key = bytes.fromhex(written.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise InputError(
            f"not a key of {_HEX_DIGITS} hexadecimal digits",
            where=path.name,
            remedy="restore it from the site's backup: under another key no patient is recognised",
        )
    return key


def changed_by(before: frozenset[str], now: frozenset[str]) -> int:
    """How many patients came or went."""
    return len(before ^ now)


def membership_refusal(
    previous: Iterable[frozenset[str]],
    now: frozenset[str],
    smallest_change: int = SMALLEST_CHANGE,
) -> Refusal | None:
    """Refuse a release if its patients differ by a few from those of any earlier one.

    Parameters
    ----------
    previous : members of all earlier releases; the latest alone would not do, as a cohort can
        change by many and then back by nearly as many.
    smallest_change : patients that must have come or gone, if any have.

    Notes
    -----
    Earlier releases are looked at one by one: combinations of several are not.
    """
    few = any(0 < changed_by(before, now) < smallest_change for before in previous)
    subject = "patients changed since an earlier release"
    return Refusal("membership", smallest_change, subject) if few else None
