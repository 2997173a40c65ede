"""Records of results.json on what left the hospitals, and what it could tell."""

from __future__ import annotations

from typing import Literal

from common.models import ModelName
from server.report.record import Count, Finite, Number, Record, RunName, Share


class LedgerSummary(Record):
    """Entries of a site's own ledger, by kind of message; `bytes` are those released."""

    site: str
    exchange: str
    released: Count = 0
    refused: Count = 0
    stopped: Count = 0
    bytes: Count = 0
    run: RunName = "federated"


class Refusal(Record):
    """A release that a site's disclosure rule refused; never the value itself."""

    site: str
    rule: str
    threshold: float | int | str | None = None
    subset: str
    run: RunName = "federated"


class RowLinkage(Record):
    """Patients with a pooled row, and those with exactly one that fits their clinical values."""

    patients: Count
    unique: Count
    run: RunName = "federated"


class MembershipAttack(Record):
    """Success of telling a site's training patients from its test patients by a model's loss."""

    run: RunName = "federated"
    site: str
    model: ModelName
    members: Count
    others: Count
    auc: Share
    auc_low: Share
    auc_high: Share
    tpr: Share
    tpr_low: Share
    tpr_high: Share


class ReleaseFigures(Record):
    """Figures on the sets of patients that a site was asked about.

    `epsilon` is over all runs; null = no bound. `stand_ins` counts solutions of the coordinator's
    that it went on with, though its own differ in the last digits; null = it derives no question.
    """

    run: RunName = "federated"
    site: str
    smallest: Count
    determined: Count
    epsilon: Number
    stand_ins: Count | None = None


class CanarySearch(Record):
    """Findings of one decoder among made-up patients planted in a copy of a site's totals.

    `chance` counts canaries "found" in totals without them. `patients_found` of the site's own
    `patients` is rounded up. All null = not measured: the site derives no question.
    """

    run: RunName = "federated"
    site: str
    decoder: Literal["components", "columns", "cells", "differences"]
    searched: Count | None
    planted: Count | None
    found: Count | None
    chance: Count | None
    patients: Count | None
    patients_found: Count | None


class PrivacyCost(Record):
    """Most that the networks' training reveals of any one patient of a site."""

    run: RunName
    site: str
    epsilon: Finite
    delta: Share
    noise_multiplier: Finite


class Transfer(Record):
    """Messages and bytes between the server and one site; up = from the site to the server."""

    site: str
    exchange: str
    phase: str
    rounds: Count = 0
    messages: Count
    bytes_up: Count
    bytes_down: Count
    run: RunName = "federated"
