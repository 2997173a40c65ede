"""Records of who took part, and of what left each site."""

from __future__ import annotations

from pydantic import Field

from server.report.schema_base import Count, MaybeCount, Record, RunName


class ParticipantCount(Record):
    """Patients of one site in one set, and those with the endpoint; null = a small count."""

    n: MaybeCount = None
    positives: MaybeCount = None


class Participant(Record):
    """One site: patients it left out because their data could not be used, and those it enrolled.

    `sets` has "train" and the test sets of which the site holds a part.
    """

    site: str
    trains: bool
    excluded: Count = 0
    sets: dict[str, ParticipantCount] = Field(default_factory=dict)


class LedgerSummary(Record):
    """Entries of a site's own ledger, by kind of message; `bytes` are those released."""

    site: str
    exchange: str
    released: Count = 0
    refused: Count = 0
    stopped: Count = 0
    bytes: Count = 0
    run: RunName = "federated"
