"""A hospital reads about those that left before it approves."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.cli import app
from client.commands.departures import describe_left
from client.site import load_site
from client.store.masks import Rosters
from common.masking import identity
from common.masking.absence import AbsentSite
from common.masking.agreement import roster_digest
from common.masking.leaving import LeftSite
from common.study.model import Study, load_study, write_study
from sim.sites import place_sites, simulated_identity, with_identities

KEY, FORGED = simulated_identity("d"), identity.generate()


@pytest.fixture
def study(tabular: Path) -> Study:
    return with_identities(load_study(tabular / "study.toml"))


@pytest.fixture
def before(study: Study) -> dict[str, str]:
    """The roster when d was still there."""
    return {**study.roster, "d": identity.public_text(KEY.public_key())}


def reported(study: Study, work: Path, statement: LeftSite) -> str:
    return "\n".join(describe_left(study.model_copy(update={"left": (statement,)}), work))


def test_where_nobody_left_nothing_is_said(study: Study, tmp_path: Path) -> None:
    assert list(describe_left(study, tmp_path)) == []


def test_a_hospital_that_left_is_named_with_what_its_word_allows(
    study: Study, before: dict[str, str], tmp_path: Path
) -> None:
    rosters = Rosters(tmp_path)
    rosters.keep(before)
    words = reported(study, tmp_path, LeftSite.sign(KEY, "d", roster_digest(before)))
    assert "WHO LEFT FOR GOOD" in words
    assert f"d: key {identity.fingerprint(KEY.public_key())}" in words
    assert "this is d's key on record here" in words
    assert "the difference is d's alone" in words


def test_a_statement_with_another_key_than_the_one_on_record_is_called_so(
    study: Study, before: dict[str, str], tmp_path: Path
) -> None:
    rosters = Rosters(tmp_path)
    rosters.keep(before)
    words = reported(study, tmp_path, LeftSite.sign(FORGED, "d", roster_digest(before)))
    assert "NOT a key that d has on record here: do not approve" in words
    assert "this is d's key" not in words


def test_a_statement_about_a_roster_without_record_changes_nothing(
    study: Study, before: dict[str, str], tmp_path: Path
) -> None:
    words = reported(study, tmp_path, LeftSite.sign(KEY, "d", roster_digest(before)))
    assert "its statement changes nothing here" in words


def test_approve_shows_it(
    study: Study, before: dict[str, str], tabular: Path, tmp_path: Path
) -> None:
    placed = place_sites(
        {"a": tabular / "a"}, tabular / "run", tabular / "cache", exclude_bad_patients=False
    )
    Rosters(load_site(placed["a"]).work).keep(before)
    statement = LeftSite.sign(KEY, "d", roster_digest(before))
    file = write_study(study.model_copy(update={"left": (statement,)}), tmp_path / "study.toml")
    command = ["approve", str(file), "--site", str(placed["a"])]
    done = CliRunner().invoke(app, command, input="n\n")
    assert done.exit_code == 1, done.output
    assert "the difference is d's alone" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("answers", "approved"), [("n\n", False), ("y\nn\n", False), ("y\ny\n", True)]
)
def test_a_study_without_one_that_is_away_is_approved_only_after_a_call(
    study: Study,
    before: dict[str, str],
    tabular: Path,
    tmp_path: Path,
    answers: str,
    approved: bool,
) -> None:
    placed = place_sites(
        {"a": tabular / "a"}, tabular / "run", tabular / "cache", exclude_bad_patients=False
    )
    Rosters(load_site(placed["a"]).work).keep(before)
    consent = AbsentSite.sign(KEY, "d", roster_digest(before), "0" * 64, 30)
    file = write_study(study.model_copy(update={"left": (consent,)}), tmp_path / "study.toml")
    command = ["approve", str(file), "--site", str(placed["a"])]
    done = CliRunner().invoke(app, command, input=answers)
    assert "have you called d: is it away, or does it agree?" in done.output
    assert done.exit_code == (0 if approved else 1), done.output
    assert ("approve this?" in done.output) == answers.startswith("y")
