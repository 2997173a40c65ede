"""Consents in advance that this hospital signed, which go to the coordinator with an enrolment."""

from __future__ import annotations

import json
from pathlib import Path

from client.store.site_db import site_db
from common.masking.absence import AbsentSite, Consent


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
