"""Hospitals of earlier sums that let the others go on without them, as one site can know it.

Beside them the consents that this hospital signed itself, which go with its enrolment.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.store.ledger import Ledger, ledger_path
from client.store.masks import Rosters
from client.store.site_db import site_db
from common.errors import StudyError
from common.ledger.entry import Record
from common.masking.absence import AbsentSite, Consent
from common.masking.agreement import roster_digest
from common.masking.lost_keys import LetGoSite
from common.study.model import Departure, Study

ANY_STUDY = ""
"""In place of a study's digest: all sums under a roster, whatever the study."""


def utc_now() -> datetime:
    """Return the time by this machine's clock."""
    return datetime.now(UTC)


class NotAbsentError(StudyError):
    """A study goes on without a hospital that has not been away for as long as it agreed to."""

    kind = "not_absent"
    """All that the coordinator learns."""

    def __init__(self, consent: AbsentSite, last: datetime) -> None:
        super().__init__(
            f"{consent.site} may be left out after more than {consent.days} days without a sum, and"
            f" gave one together with this hospital on {last:%Y-%m-%d}, by this hospital's ledger",
            where=f"study without {consent.site}",
            remedy=f"nothing is answered before {consent.holds_from(last):%Y-%m-%d %H:%M} UTC; call"
            f" {consent.site}, at a number that you know, and tell the coordinator",
        )


class Departures:
    """Hospitals that one study goes on without, with their word for it."""

    def __init__(self, work: Path, study: Study) -> None:
        self.work, self._study = work, study
        self._rosters = Rosters(work)

    def let_go(self) -> Iterator[tuple[str, str, str]]:
        """Yield site, roster and study (or `ANY_STUDY`) of sums that may follow by subtraction."""
        for one in self._study.left:
            if not self.proves(one):
                continue
            if not isinstance(one, AbsentSite):
                yield one.site, one.roster, ANY_STUDY
            elif one.holds(self.last_sum_with(one.site), utc_now()):
                yield one.site, one.roster, one.study

    def proves(self, statement: Departure) -> bool:
        """Say whether a statement is of the hospital that it names, as this site knows it.

        That of a hospital that lost its keys is, once those who know it have said so.
        """
        if not self._rosters.proves(statement):
            return False
        if not isinstance(statement, LetGoSite):
            return True
        known = self._rosters.recall(statement.roster)
        return statement.enough(known, self._study.coordinator_key)

    def check(self) -> None:
        """Return if each hospital that consented to be left out has been away for long enough.

        Raises
        ------
        NotAbsentError : one has not; nothing of the study is answered.
        """
        for one in self._consents():
            last = self.last_sum_with(one.site)
            if last is not None and not one.holds(last, utc_now()):
                raise NotAbsentError(one, last)

    def write_down(self, private: Ed25519PrivateKey) -> None:
        """Enter each consent that this site goes by into its ledger, once for a study."""
        db, study = site_db(self.work), self._study
        for one in self._consents():
            digest = hashlib.sha256(one.model_dump_json().encode()).hexdigest()
            name = f"{study.digest()}/{digest}"
            if db.fact("absence", name) is not None:
                continue
            last = self.last_sum_with(one.site)
            facts = {
                "site": one.site,
                "days": one.days,
                "last": last.isoformat() if last else "",
                "accepted": utc_now().isoformat(timespec="seconds"),
            }
            record = Record(
                exchange="absence",
                decision="released",
                study=study.digest(),
                roster=roster_digest(study.roster),
                payload=digest,
            )
            with db.transaction():
                if db.fact("absence", name) is None:
                    db.fix("absence", name, json.dumps(facts))
                    Ledger(self.work, private).append(record)

    def last_sum_with(self, site: str) -> datetime | None:
        """Return when this site last gave a sum together with another, None if it never did."""
        path = ledger_path(self.work)
        if not path.is_file():
            return None
        # lines of a ledger have one form only, in which a list ends with the first bracket
        among = re.compile(rb'"participants":\[[^\]]*' + re.escape(json.dumps(site).encode()))
        with path.open("rb") as file:
            lines = [line for line in file if among.search(line)]
        released = (entry for line in reversed(lines) if (entry := _released(line)))
        last = next(released, None)
        return None if last is None else datetime.fromisoformat(last["time"])

    def _consents(self) -> Iterator[AbsentSite]:
        """Yield the consents of hospitals that this site knows by the key that signed."""
        for one in self._study.left:
            if isinstance(one, AbsentSite) and self.proves(one):
                yield one


def _released(line: bytes) -> dict[str, Any]:
    """Return an entry that was released; empty for others, and for what is no entry."""
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError:  # fedlnm-site ledger verify says what is wrong with it
        return {}
    return entry if entry["decision"] == "released" else {}


def keep_consent(work: Path, signed: AbsentSite) -> None:
    """Keep the consent to a study; the one that is kept last counts."""
    db = site_db(work)
    with db.transaction():
        number = len(db.facts("consent", signed.study))
        value = json.dumps([number, signed.days, signed.signature])
        db.fix("consent", f"{signed.study}/{number}", value)


def consent_to(work: Path, study: str) -> Consent | None:
    """Return the consent to the study of this digest, None where there is none."""
    found = [json.loads(value) for value in site_db(work).facts("consent", study)]
    if not found:
        return None
    _, days, signature = max(found)
    return Consent(days=days, signature=signature)
