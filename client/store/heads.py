"""Ends of ledgers, by which a site notices that its own or another's was put back to an older copy.

A folder restored from a backup has forgotten what was released since, and would release again what
earlier releases forbid. The ledger's owner signed its end with every reply and every ephemeral key:
the coordinator hands the newest back, and each site remembers those of all others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from client.store.site_db import site_db
from common.errors import InputError, StudyError
from common.ledger.receipt import Receipt
from common.masking import identity
from common.masking.agreement import SignedKey


class RolledBackError(StudyError):
    """The site's own ledger lacks an entry that the site has signed."""

    kind = "rolled_back"
    """All that the coordinator learns."""

    def __init__(self, site: str, entries: int) -> None:
        super().__init__(
            f"the ledger of site {site} is older than, or another than, the one of which it signed"
            f" entry {entries}: what was released since is forgotten, and nothing is answered",
            where=f"site {site}, ledger.jsonl",
            remedy="stop the site and restore the newest backup of its work folder; if there is"
            " none with this entry, ask the data-protection officer",
        )


class OtherRolledBackError(RolledBackError):
    """The ledger of another site lacks an entry that it has signed."""

    kind = "other_rolled_back"
    """All that the coordinator learns from the site that noticed."""


class LedgerHeads:
    """The ends of all ledgers that one site has seen, its own among them."""

    def __init__(self, work: Path, site: str) -> None:
        self._db, self._site = site_db(work), site

    def check_own(self, roster: Mapping[str, str], receipts: Iterable[Receipt] = ()) -> None:
        """Return if the own ledger has every entry that this site is known to have signed.

        Parameters
        ----------
        roster : identity keys (base64) by site.
        receipts : as the coordinator hands them back; those that do not hold are passed over.

        Raises
        ------
        RolledBackError : it lacks one, now or at an earlier request: that is remembered.
        """
        held = [receipt for receipt in receipts if _holds(receipt, roster)]
        for receipt in held:
            if receipt.site == self._site:
                self.check_entry(receipt.entries, receipt.ledger)
        self._check_remembered()
        for receipt in held:
            if receipt.site != self._site:
                row = (receipt.site, roster[receipt.site], receipt.session)
                self._db.see_head(*row, receipt.entries, receipt.ledger)

    def check_entry(self, number: int, digest: str) -> None:
        """Check that the own ledger has an entry of this number and hash; note that it lacks it.

        Raises
        ------
        RolledBackError : it has not.
        """
        if number and self._db.entry_hash(number) != digest:
            self._db.fix("rolled back", "", json.dumps([number, digest]))
            raise RolledBackError(self._site, number)

    def missing(self) -> tuple[int, str] | None:
        """Return number and hash of the signed entry that the own ledger was found to lack."""
        found = self._db.fact("rolled back", "")
        return tuple(json.loads(found)) if found else None

    def _check_remembered(self) -> None:
        if (missing := self.missing()) is not None:
            raise RolledBackError(self._site, missing[0])

    def check_others(self, keys: Iterable[SignedKey], roster: Mapping[str, str]) -> None:
        """Return if every other site announced its key with no older ledger than it had before.

        Studies that run side by side end up with keys out of order: the key of one was made before
        entries that another already showed. That is no older copy if one start of the site's
        program made both keys: a copy that is put back takes another start.

        Parameters
        ----------
        keys : whose signatures hold, all of one enrolment.

        Raises
        ------
        OtherRolledBackError : names the site whose ledger was put back.
        """
        for key in keys:
            if key.site == self._site:
                continue
            owner = (key.site, roster[key.site])
            known, end = self._db.head(*owner), (key.entries, key.ledger)
            if known is not None and known.session != key.session:
                older = key.entries < known.entries
                other = key.entries == known.entries and key.ledger != known.hash
                if other or (older and not self._one_start(owner, known.session, key.start)):
                    raise OtherRolledBackError(key.site, known.entries)
                end = (known.entries, known.hash) if older else end
            if known is None or known.session != key.session:
                self._db.fix("start", _place(owner, key.session), key.start)
                self._db.announce_head(*owner, key.session, *end)

    def _one_start(self, owner: tuple[str, str], session: str, start: str) -> bool:
        """Return whether this start of the site's program also made the key of a session."""
        return bool(start) and self._db.fact("start", _place(owner, session)) == start


def _place(owner: tuple[str, str], session: str) -> str:
    return "/".join((*owner, session))


def _holds(receipt: Receipt, roster: Mapping[str, str]) -> bool:
    try:
        public = identity.public_key(roster.get(receipt.site, ""))
    except InputError:
        return False
    return receipt.is_by(public)
