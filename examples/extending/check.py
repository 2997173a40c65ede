"""Warn of binary columns with one value for every patient of a hospital."""

from __future__ import annotations

from client.check.finding import Findings, ok, warning
from client.check.registry import check
from client.data.cohort import Cohort
from common.study.model import Study


@check("patients", cohort_onesided="no binary column has the same value for every patient")
def check_one_sided(cohort: Cohort, study: Study) -> Findings:
    """Warn of binary clinical columns that do not vary at this hospital."""
    found = False
    for column in study.clinical:
        if column.kind == "binary":
            values = {patient.clinical[column.name] for patient in cohort.patients}
            if len(values) == 1:
                found = True
                remedy = "see that the column was exported with its own codes"
                yield warning("cohort.onesided", column.name, "is the same for everyone", remedy)
    if not found:
        yield ok("cohort.onesided", "every binary column varies")
