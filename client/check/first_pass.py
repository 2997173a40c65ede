"""First pass over a site's data: rows, columns, files, headers, counts.

Takes seconds: no voxel is read and nothing is prepared.
"""

from __future__ import annotations

from dataclasses import dataclass

from client.check.disclosure import foretold
from client.data.cohort import Cohort, assign_folds, read_cohort, shortfalls
from client.site import SiteSettings
from common.disclosure.foretelling import Foretold
from common.disclosure.rule import stricter
from common.errors import InputError
from common.study.model import Study

MOST_LISTED = 20


@dataclass(frozen=True)
class Reason:
    """Obstacle to correct: what, where, remedy."""

    where: str
    what: str
    remedy: str


@dataclass(frozen=True)
class FirstPass:
    """Result of the first pass over one site.

    Parameters
    ----------
    cohort : usable patients so far; None where cohort.csv cannot be read.
    reasons : obstacles that the site's people must correct.
    foreseen : refusals of the site, and withheld results.
    """

    cohort: Cohort | None
    reasons: tuple[Reason, ...]
    foreseen: Foretold


def first_pass(settings: SiteSettings, study: Study) -> FirstPass:
    """Check a site's cohort.csv, its columns and files, their headers, and the counts.

    Bad patients count as they do in a run: they are left out if the site agreed to that, and stop
    the site if it did not.
    """
    try:
        cohort = read_cohort(settings.data, settings.name, study, pooled=settings.pooled)
    except InputError as error:
        return FirstPass(None, (Reason(error.where, error.what, error.remedy),), Foretold((), ()))
    bad = [
        (p.patient_id, Reason(f"{p.patient_id}: {p.where}", p.what, p.remedy))
        for p in cohort.problems
    ]
    bad += _headers(cohort, settings, study)
    left_out = {patient for patient, _ in bad} if settings.exclude_bad_patients else set()
    kept = [p for p in cohort.patients if p.patient_id not in left_out]
    cohort.patients = assign_folds(kept, study)
    reasons = [] if settings.exclude_bad_patients else _first([reason for _, reason in bad])
    short = [Reason(e.where, e.what, e.remedy) for e in shortfalls(cohort, study)]
    # the missing patients may be in rows that cannot be read
    counted = not (cohort.problems and not settings.exclude_bad_patients) and not short
    privacy = stricter(study.privacy, settings.privacy)
    foreseen = foretold(cohort, study, privacy) if counted else Foretold((), ())
    return FirstPass(cohort, (*reasons, *short), foreseen)


def _headers(cohort: Cohort, settings: SiteSettings, study: Study) -> list[tuple[str, Reason]]:
    if not study.needs_images:
        return []
    from client.imaging.prepared import header_problems

    return [
        (one.patient_id, Reason(f"{one.patient_id}: {one.file}", one.what, one.remedy))
        for one in header_problems(cohort.patients, settings)
    ]


def _first(reasons: list[Reason]) -> list[Reason]:
    """Cut a list to a readable length, and state the number left out."""
    if len(reasons) <= MOST_LISTED:
        return reasons
    more = f"{len(reasons) - MOST_LISTED} more problems with patients"
    return [*reasons[:MOST_LISTED], Reason("", more, "fedlnm-site check lists them all")]
