"""File for the coordinator before a study, made from the hospital's own check."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Literal

from client.check.finding import Report
from client.site import SiteSettings
from common.errors import InputError
from common.messages.exchanges import Refusal
from common.messages.feasibility import (
    FeasibilityReport,
    PhaseLoad,
    RuleForeseen,
    SubsetCount,
)
from common.study.model import PrivacySettings, Study
from common.study.release_mark import own_release


def shared(
    report: Report, study: Study, settings: SiteSettings, privacy: PrivacySettings
) -> FeasibilityReport:
    """Return what the coordinator may know of a check.

    Counts below the thresholds are left out: patients under `min_rows`, and both counts where one
    class has fewer than `min_cell`.
    """
    foreseen = report.foreseen
    rules = [*_rules(foreseen.stops, True), *_rules(foreseen.withheld, False)] if foreseen else []
    return FeasibilityReport(
        site=settings.name,
        study=study.name,
        digest=study.digest(),
        release=own_release(),
        device=_device(study, settings),
        cores=len(os.sched_getaffinity(0)),
        ready=report.ready,
        open_checks=tuple(sorted({one.kind for one in report.of("problem")})),
        counts=tuple(_count(s, *counts, privacy) for s, counts in report.counts.items()),
        rules=tuple(rules),
        load=tuple(
            PhaseLoad(phase=one.phase, rounds=one.rounds, bytes_up=one.total) for one in report.load
        ),
        mbit_per_second=report.speed.mbit_per_second if report.speed else None,
    )


def _rules(refusals: Iterable[Refusal], stops: bool) -> list[RuleForeseen]:
    return [
        RuleForeseen(rule=one.rule, subset=one.subset, threshold=one.threshold, stops=stops)
        for one in refusals
    ]


def _count(subset: str, patients: int, positives: int, privacy: PrivacySettings) -> SubsetCount:
    few = patients < privacy.min_rows
    hidden = few or min(positives, patients - positives) < privacy.min_cell
    return SubsetCount(
        subset=subset,
        patients=None if few else patients,
        positives=None if hidden else positives,
    )


def _device(study: Study, settings: SiteSettings) -> Literal["cpu", "cuda"]:
    """Return the kind of device that networks would be trained on."""
    if not study.networks:
        return "cpu"
    from client.training.device import find_compute

    try:
        return "cuda" if find_compute(settings.device).on_gpu else "cpu"
    except InputError:
        return "cpu"
