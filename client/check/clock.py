"""The clock: against the coordinator's, else against what cannot lie in the future."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import client
from client.check.contact import Contact
from client.check.coordinator import NO_DEPLOYMENT
from client.check.finding import (
    Finding,
    Findings,
    not_applicable,
    not_checked,
    ok,
    problem,
    warning,
)
from client.site import SiteSettings
from client.store.ledger import ledger_path
from client.store.site_db import site_db

KIND = "machine.clock"
REMEDY = "let this machine set its clock from a time server"
# a file server's clock may be a little ahead
_SLACK_SECONDS = 300.0
_WORTH_SAYING = 30.0


def look_at_clock(settings: SiteSettings, contact: Contact | None) -> Findings:
    """Compare clocks; `contact` is None where no coordinator was visited."""
    future = [path for path, then in _written(settings) if then > time.time() + _SLACK_SECONDS]
    if future:
        names = ", ".join(sorted({path.name for path in future}))
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        what = f"the clock says {now}, but these were written later: {names}"
        yield problem(KIND, "", what, REMEDY)
    else:
        yield ok(KIND, "later than all that was written here")
    if contact is None:
        yield from not_applicable((KIND,), NO_DEPLOYMENT)
    elif contact.ahead is None:
        yield from not_checked(
            (KIND,), "not against the coordinator's, which did not tell the time"
        )
    else:
        yield _against_coordinator(contact.ahead)


def _written(settings: SiteSettings) -> Iterator[tuple[Path, float]]:
    """Files, and when they were last written: the program, the cohort, the site's records."""
    for path in (
        Path(client.__file__),
        settings.data / "cohort.csv",
        site_db(settings.work).path,
        ledger_path(settings.work),
    ):
        if path.is_file():
            yield path, path.stat().st_mtime


def _against_coordinator(ahead: float) -> Finding:
    from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE

    told = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the coordinator's"
    # a SuperNode signs the time, and a SuperLink takes what is not from the future, nor old
    latest, earliest = SYSTEM_TIME_TOLERANCE, -(TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE)
    if not earliest < ahead < latest:
        what = f"{told}: its messages would be refused"
        return problem(KIND, "", what, REMEDY)
    if not -_WORTH_SAYING < ahead < latest / 2:
        return warning(KIND, "", told, REMEDY)
    return ok(KIND, "agrees with the coordinator's")
