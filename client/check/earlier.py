"""Patients that came or went since something was last released: too few of them, and it refuses."""

from __future__ import annotations

from client.check.finding import Findings, ok, or_ok, problem, problem_of
from client.data.cohort import Cohort
from client.site import SiteSettings
from client.store.cohorts import SMALLEST_CHANGE, Memberships, membership_refusal
from client.store.ledger import ledger_path
from common.errors import StudyError
from common.study.model import Study

KIND = "disclosure.earlier"


def look_at_earlier(cohort: Cohort, study: Study, settings: SiteSettings) -> Findings:
    """Compare the cohort with those of the ledger."""
    if not ledger_path(settings.work).is_file():
        yield ok(KIND, "nothing was ever released from this work folder")
        return
    try:
        memberships = Memberships(settings.work)
        found = []
        for subset in ("train", *(test.name for test in study.test_sets)):
            now = memberships.of(p.patient_id for p in cohort.subset(study, subset)).members
            if membership_refusal(memberships.earlier(subset), now) is not None:
                found.append(
                    problem(
                        KIND,
                        subset,
                        f"refused: fewer than {SMALLEST_CHANGE} patients came or went since an"
                        " earlier release (rule membership)",
                        "go back to the earlier patients, or change by more at once",
                    )
                )
        yield from or_ok(found, {KIND: "the same patients as before, or many others"})
    except StudyError as error:
        yield problem_of(KIND, error)
