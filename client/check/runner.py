"""Run all checks in order: what a site would bring to a study, reported to nobody else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from client.check.cohort import FILES, CohortLook, check_counts, check_rows, count
from client.check.finding import (
    Finding,
    Report,
    Speed,
    gathered,
    not_applicable,
    not_checked,
    or_ok,
    placed,
    problem,
    problem_of,
)
from client.check.machine import (
    check_disk,
    check_memory,
)
from client.check.naming import check_names
from client.check.network import (
    Contact,
    check_transfer,
    load_of,
    upload_speed,
    visit,
)
from client.check.plausible import check_values
from client.check.registry import declared, run_checks
from client.data.cohort import Cohort, assign_folds
from client.site import SiteSettings, load_site
from common.errors import InputError, StudyError
from common.messages.exchanges import Refusal
from common.messages.feasibility import (
    FeasibilityReport,
    PhaseLoad,
    RuleForeseen,
    SubsetCount,
)
from common.study.model import PrivacySettings, Study, load_study
from common.study.release_mark import own_release

Progress = Callable[[int, int, str], None]
Tell = Callable[[Finding], None]
HEADERS, PREPARED = "identifiers.headers", "image.prepared"


@dataclass(frozen=True)
class Wish:
    """Options of a check.

    Parameters
    ----------
    cache : folder for prepared images, None for the site's own.
    bandwidth : assumed Mbit/s, None to measure.
    """

    cache: Path | None = None
    bandwidth: float | None = None


def site_of(folder: Path) -> SiteSettings:
    """Read settings from the folder's site.toml, or use defaults under the folder's name."""
    own = folder if folder.is_file() else folder / "site.toml"
    if own.is_file():
        return load_site(own)
    resolved = folder.resolve()
    paths = {"data": resolved, "work": resolved / "work", "cache": resolved / "cache"}
    return SiteSettings(name=resolved.name, identity=resolved / "keys" / "identity.pem", **paths)


def rehearse(
    folder: Path,
    study_file: Path,
    wish: Wish,
    progress: Progress | None,
    emit: Tell = lambda _: None,
) -> Report:
    """Check a site as the study would, and its connection to the coordinator.

    An interruption (Ctrl-C) ends it early: the report holds the findings by then.

    Parameters
    ----------
    emit : called with new warnings and problems before each long piece of work.

    Raises
    ------
    InputError : the study file or site.toml is wrong.
    """
    study = load_study(study_file)
    settings = site_of(folder)
    if wish.cache is not None:
        settings = settings.model_copy(update={"cache": wish.cache.resolve()})
    report = Report(site=settings.name, study=study.name, digest=study.digest())
    try:
        _look(report, study, study_file, settings, wish, _News(report, progress, emit))
    except KeyboardInterrupt:
        report.stopped = True
    report.findings = gathered(report.findings)
    return report


@dataclass
class _News:
    """Progress of the check, and its findings not shown yet."""

    report: Report
    progress: Progress | None
    emit: Tell
    seen: int = 0

    def show(self) -> None:
        """Show warnings and problems found since the last call."""
        for finding in self.report.findings[self.seen :]:
            if finding.severity in ("warning", "problem"):
                self.emit(finding)
        self.seen = len(self.report.findings)


def _look(
    report: Report,
    study: Study,
    study_file: Path,
    settings: SiteSettings,
    wish: Wish,
    news: _News,
) -> None:
    """Fill the report, the quick checks first."""
    found = report.findings
    contact = visit(settings.deployment) if settings.deployment else None
    given = {
        "study": study,
        "study_file": study_file,
        "settings": settings,
        "site": settings.name,
        "deployment": settings.deployment,
        "contact": contact,
    }
    found += run_checks("site", given)
    _check_patients(report, study, settings, news)
    training = report.counts.get("train", (0, 0))[0]
    report.load = load_of(study, settings.name, training)
    report.speed = _speed(settings, contact, wish.bandwidth)
    found += check_transfer(report.load, report.speed)


def _speed(
    settings: SiteSettings, contact: Contact | None, bandwidth: float | None
) -> Speed | None:
    if bandwidth is not None:
        return Speed(bandwidth, measured=False)
    if settings.deployment is None or contact is None or not contact.serves:
        return None
    measured = upload_speed(settings.deployment)
    return Speed(measured, measured=True) if measured is not None else None


def _check_patients(report: Report, study: Study, settings: SiteSettings, news: _News) -> None:
    """Check rows, images, and the rules on the remaining patients."""
    rows = check_rows(settings.data, settings.name, study)
    report.findings += rows.findings
    _check_names(report, rows, settings.name, study)
    if rows.cohort is None:
        kinds = (
            "cohort.units",
            "cohort.missing",
            "cohort.skewed",
            *placed("counts"),
            *placed("disclosure"),
            *declared("patients"),
        )
        kinds += (*_images(study), "machine.disk", "machine.memory")
        report.findings += not_checked(kinds, "the rows of cohort.csv cannot be read")
        report.findings += _no_images(study)
        return
    cohort = rows.cohort
    report.findings += check_values(cohort.patients, study)
    _check_images(report, cohort, study, settings, news)
    cohort.patients = assign_folds(cohort.patients, study)
    report.patients = len(cohort.patients)
    counts = count(cohort, study)
    report.counts, report.folds = counts.subsets, counts.folds
    report.findings += check_counts(cohort, study, counts)
    _check_rules(report, cohort, study, settings)


def _check_names(report: Report, rows: CohortLook, site: str, study: Study) -> None:
    if rows.frame is None:
        kinds = ("identifiers.cohort", "identifiers.files")
        report.findings += not_checked(kinds, "cohort.csv cannot be read")
    else:
        report.findings += check_names(rows.frame, site, study)


def _images(study: Study) -> tuple[str, ...]:
    """Return the kinds about images that apply to this study, except for paths in cohort.csv."""
    kinds = (*placed("image"), *placed("mask"), HEADERS)
    return tuple(kind for kind in kinds if kind not in FILES) if study.needs_images else ()


def _no_images(study: Study) -> tuple[Finding, ...]:
    kinds = () if study.needs_images else (*placed("image"), *placed("mask"), HEADERS)
    return tuple(not_applicable(kinds, "the study reads no images"))


def _check_images(
    report: Report,
    cohort: Cohort,
    study: Study,
    settings: SiteSettings,
    news: _News,
) -> None:
    """Read every image, then prepare what can be; unusable patients leave the cohort."""
    report.findings += _no_images(study)
    training = len(cohort.subset(study, "train"))
    contours = sum(len(patient.masks) for patient in cohort.patients)
    disk = tuple(check_disk(study, settings, len(cohort.patients), contours))
    report.findings += disk
    if not study.needs_images:
        report.findings += check_memory(study, settings, training, None)
        return
    from client.check.images import check_headers, check_images

    news.show()
    headers = check_headers(cohort.patients, settings)
    report.findings += headers.findings
    news.show()
    look = check_images(cohort.patients, settings, news.progress)
    # reading the voxels meets the same faults of a header again
    kinds = {finding.kind for finding in headers.findings}
    report.findings += [
        finding
        for finding in look.findings
        if finding not in headers.findings
        and not (finding.severity == "ok" and finding.kind in kinds)
    ]
    largest = look.gib if cohort.patients else None
    report.findings += check_memory(study, settings, training, largest)
    _leave_out(cohort, headers.bad | look.bad)
    full = any(finding.severity == "problem" for finding in disk)
    if full:
        report.findings += not_checked((PREPARED,), "too little room on disk")
        return
    news.show()
    _prepare(report, cohort, study, settings, news.progress)


def _prepare(
    report: Report,
    cohort: Cohort,
    study: Study,
    settings: SiteSettings,
    progress: Progress | None,
) -> None:
    from client.imaging.prepared import prepare_images

    try:
        _, problems = prepare_images(cohort.patients, settings, study, progress)
    except StudyError as error:
        # no patient's fault: the installation gives other features than the study asks for
        report.findings.append(problem_of(PREPARED, error))
        return
    found = [
        problem(PREPARED, f"{one.patient_id}: {one.file}", one.what, one.remedy) for one in problems
    ]
    report.findings += or_ok(found, {PREPARED: f"{len(cohort.patients)} patients"})
    _leave_out(cohort, frozenset(one.patient_id for one in problems))


def _leave_out(cohort: Cohort, bad: frozenset[str]) -> None:
    cohort.patients = [patient for patient in cohort.patients if patient.patient_id not in bad]


def _check_rules(
    report: Report,
    cohort: Cohort,
    study: Study,
    settings: SiteSettings,
) -> None:
    from client.check.disclosure import Own, foretold

    given = {"study": study, "settings": settings, "site": settings.name, "cohort": cohort}
    own = Own(cohort, study, settings)
    report.foreseen = foretold(cohort, study, own.privacy)
    report.findings += run_checks("patients", {**given, "own": own})


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
