"""A cohort that changed by a few patients since a release is found before the study asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from client.check.disclosure import check_earlier
from client.data.cohort import Cohort, read_cohort
from client.site import SiteSettings, load_site
from client.store.cohorts import Memberships
from client.store.ledger import Ledger
from client.store.site_db import FILE
from common.ledger.entry import Item, Record
from common.masking import identity
from common.study.model import Study, load_study


@pytest.fixture
def study(tabular_master: Path) -> Study:
    return load_study(tabular_master / "study.toml")


@pytest.fixture
def settings(tmp_path: Path, study: Study, joined: Any) -> SiteSettings:
    joined(tmp_path, "a", study, None)
    return load_site(tmp_path / "site.toml")


@pytest.fixture
def cohort(tabular_master: Path, study: Study) -> Cohort:
    return read_cohort(tabular_master / "a", "a", study)


def release(
    settings: SiteSettings, study: Study, cohort: Cohort, sites: tuple[str, ...] = ()
) -> None:
    """Fill the ledger as after a sum over the training patients, masked over these sites."""
    private = identity.load(settings.identity).private
    memberships = Memberships(settings.work)
    ids = [patient.patient_id for patient in cohort.subset(study, "train")]
    digest = memberships.keep(memberships.of(ids))
    item = Item(
        what="Means",
        subset="train",
        request="",
        shapes={},
        rows=60,
        membership=digest,
        participants=sites,
    )
    record = Record(run="r", exchange="query.sum", decision="released", items=(item,))
    Ledger(settings.work, private).append(record)


@pytest.mark.parametrize(("fewer", "severity"), [(0, "ok"), (1, "problem"), (12, "ok")])
def test_a_change_by_a_few_would_be_refused(
    settings: SiteSettings, study: Study, cohort: Cohort, fewer: int, severity: str
) -> None:
    release(settings, study, cohort)
    cohort.patients = cohort.patients[fewer:]
    row, _ = check_earlier(cohort, study, settings)
    assert row.severity == severity
    assert (row.where == "train") == (severity == "problem")


@pytest.mark.parametrize(
    ("before", "severity"),
    [
        (("a", "b", "c"), "ok"),
        # d is away now, and the difference of both sums would be its own
        (("a", "b", "c", "d"), "problem"),
        (("a", "b", "c", "d", "e", "f"), "ok"),
    ],
)
def test_a_study_without_a_hospital_of_earlier_sums_is_foretold_to_be_refused(
    settings: SiteSettings,
    study: Study,
    cohort: Cohort,
    before: tuple[str, ...],
    severity: str,
) -> None:
    release(settings, study, cohort, before)
    found = list(check_earlier(cohort, study, settings))
    row = found[-1]
    assert (row.kind, row.severity) == ("disclosure.roster", severity)
    if severity == "problem":
        assert row.where == "train"
        assert "given together with a, b, c, d; now they are asked over a, b, c" in row.what
        assert "rule participants" in row.what
        assert "fedlnm-site leave" in row.remedy


def test_a_changed_cohort_may_be_summed_with_others(
    settings: SiteSettings, study: Study, cohort: Cohort
) -> None:
    release(settings, study, cohort, ("a", "b", "c", "d"))
    cohort.patients = cohort.patients[12:]
    assert {row.severity for row in check_earlier(cohort, study, settings)} == {"ok"}


def test_without_a_ledger_nothing_was_released(
    settings: SiteSettings, study: Study, cohort: Cohort
) -> None:
    rows = list(check_earlier(cohort, study, settings))
    assert {row.severity for row in rows} == {"ok"}
    assert not settings.work.exists(), "looking leaves no trace"


def test_records_that_are_lost_are_a_problem(
    settings: SiteSettings, study: Study, cohort: Cohort
) -> None:
    release(settings, study, cohort)
    (settings.work / FILE).unlink()
    (row,) = check_earlier(cohort, study, settings)
    assert row.severity == "problem"
    assert "memory is missing" in row.what
