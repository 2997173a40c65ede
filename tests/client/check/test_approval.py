"""The study at hand against what was approved here."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from client.check.finding import Finding
from client.check.keys import (
    check_approvals,
    check_coordinator_key,
    check_roster,
)
from client.gate import approvals
from client.site import Deployment, SiteSettings, load_site
from client.store.site_db import FILE
from common.masking import identity
from common.study.model import Study, load_study

INSECURE = Deployment(superlink="127.0.0.1:1", insecure=True, coordinator_key="ours")


@pytest.fixture
def study(tabular_master: Path) -> Study:
    return load_study(tabular_master / "study.toml")


@pytest.fixture
def settings(tmp_path: Path, study: Study, joined: Any) -> SiteSettings:
    joined(tmp_path, "a", study, None)
    return load_site(tmp_path / "site.toml")


def approve(settings: SiteSettings, digest: str, name: str) -> None:
    private = identity.load(settings.identity).private
    approvals.approve(settings.work, private, digest, name)


def found(study: Study, settings: SiteSettings) -> dict[str, Finding]:
    return {row.kind: row for row in check_approvals(study, settings)}


def test_nothing_approved_yet_is_a_warning(study: Study, settings: SiteSettings) -> None:
    assert {row.severity for row in found(study, settings).values()} == {"warning"}


def test_the_approved_study_passes(study: Study, settings: SiteSettings) -> None:
    approve(settings, study.digest(), study.name)
    assert {row.severity for row in found(study, settings).values()} == {"ok"}


def test_a_study_that_changed_since_it_was_approved_is_a_warning_with_both_digests(
    study: Study, settings: SiteSettings
) -> None:
    approve(settings, "cd" * 32, study.name)
    row = found(study, settings)["study.approval"]
    assert row.severity == "warning"
    assert "cdcdcdcdcdcd" in row.what
    assert study.digest()[:12] in row.what


def test_approvals_that_were_tampered_with_are_a_problem(
    study: Study, settings: SiteSettings
) -> None:
    approve(settings, study.digest(), study.name)
    with sqlite3.connect(settings.work / FILE) as connection:
        connection.execute("UPDATE approvals SET name = 'other'")
    rows = found(study, settings)
    assert rows["study.approval"].severity == "problem"


def test_open_simulations_are_not_checked_and_it_says_why(study: Study) -> None:
    rows = found(study, SiteSettings(name="a", approvals="open"))
    assert {row.severity for row in rows.values()} == {"not checked"}


def test_a_study_of_another_coordinator_is_a_problem(study: Study) -> None:
    theirs = study.model_copy(update={"coordinator_key": "theirs"})
    ours = study.model_copy(update={"coordinator_key": "ours"})
    assert [row.severity for row in check_coordinator_key(theirs, INSECURE)] == ["problem"]
    assert [row.severity for row in check_coordinator_key(ours, INSECURE)] == ["ok"]
    assert [row.severity for row in check_coordinator_key(ours, None)] == ["not applicable"]


def test_what_the_study_wants_of_the_site_is_said(study: Study) -> None:
    (row,) = check_roster(study, "c")
    assert row.what == "trains, tests internal, tests external_1"
    (row,) = check_roster(study, "nowhere")
    assert row.severity == "problem"
    assert "a, b, c" in row.remedy
