"""The coordinator goes on without a hospital by the file that this has signed."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from typer.testing import CliRunner

from common.errors import InputError
from common.masking import identity
from common.masking.absence import AbsentSite
from common.masking.agreement import roster_digest
from common.masking.leaving import LeftSite
from common.masking.lost_keys import LetGoSite
from common.messages.joining import JoinRequest
from common.study.model import Study, load_study
from server.cli import app
from server.deployment.folder import CoordinatorFolder
from server.deployment.going_on import read_statements
from server.deployment.preparing import prepare
from server.deployment.roster import enrol
from server.deployment.run_folder import new_run
from tests import builders

Joiner = Callable[[str], JoinRequest]
DAY = 86_400
RUNNER = CliRunner()


@dataclass
class Four:
    """A coordinator's folder, the study of four that ran, and its file."""

    folder: CoordinatorFolder
    study: Study
    file: Path
    key: Any

    def ran(self, days_ago: float) -> None:
        """The four gave a sum."""
        run = new_run(self.folder, self.folder.prepared_study(self.study.name))
        event = {"time": time.time() - days_ago * DAY, "kind": "contact", "exchange": "query.sum"}
        lines = [json.dumps({**event, "site": site}) for site in "abcd"]
        run.events_file.write_text("\n".join(lines) + "\n")

    def prepared(self, *files: Path) -> str:
        command = ["prepare", str(self.folder.root), str(self.file)]
        for file in files:
            command += ["--without", str(file)]
        done = RUNNER.invoke(app, command)
        if isinstance(done.exception, InputError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return " ".join(done.output.split())


@pytest.fixture
def four(
    folder: CoordinatorFolder, request_of: Joiner, tabular_master: Path, tmp_path: Path
) -> Four:
    for name in "abcd":
        enrol(folder, request_of(name), replace=False)
    own = Path(shutil.copy(tabular_master / "study.toml", tmp_path / "study.toml"))
    tests = {"internal": ("internal_test", "abcd"), "own": ("external_test", "d")}
    builders.amend(own, sites="abcd", tests=tests)
    study = prepare(folder, own).study
    key = identity.load(tmp_path / "sites" / "d" / "keys" / "identity.pem").private
    return Four(folder, study, own, key)


def handed_over(statement: Any, path: Path) -> Path:
    path.write_text(tomli_w.dumps({"left": [statement.model_dump()]}))
    return path


def consent(four: Four, path: Path, days: int = 30) -> Path:
    roster = roster_digest(four.study.roster)
    signed = AbsentSite.sign(four.key, "d", roster, four.study.digest(), days)
    return handed_over(signed, path)


def test_a_hospital_that_left_is_taken_out_everywhere_and_its_statement_put_in(
    four: Four, tmp_path: Path
) -> None:
    four.ran(days_ago=1)
    left = LeftSite.sign(four.key, "d", roster_digest(four.study.roster))
    said = four.prepared(handed_over(left, tmp_path / "left.toml"))
    assert "without d, whose own sums may be found by subtraction from now on" in said
    assert "would be refused" not in said
    made = load_study(four.folder.prepared_study("tabular"))
    assert made.site_names == ("a", "b", "c")
    assert [(test.name, test.sites) for test in made.test_sets] == [("internal", ("a", "b", "c"))]
    assert made.left == (left,)


def test_a_hospital_that_left_and_is_asked_again_is_foretold(four: Four, tmp_path: Path) -> None:
    """Its file has to be given whenever the study is prepared, as study.toml still names it."""
    left = LeftSite.sign(four.key, "d", roster_digest(four.study.roster))
    file = handed_over(left, tmp_path / "left.toml")
    four.prepared(file)
    four.ran(days_ago=1)
    again = "d has left for good, and this study asks it again -> give its file again"
    assert again in four.prepared()
    assert again not in four.prepared(file)


def test_a_hospital_that_lost_its_keys_is_let_go_only_by_the_word_of_three(
    four: Four, tmp_path: Path
) -> None:
    lost, roster = four.study.roster["d"], roster_digest(four.study.roster)
    asked = LetGoSite.sign(identity.generate(), "d", lost, roster)
    file = handed_over(asked, tmp_path / "left.toml")
    before = four.folder.prepared_study("tabular").read_bytes()
    with pytest.raises(InputError, match="confirmed by nobody, not by the coordinator and two"):
        four.prepared(file)
    files = []
    for name in ("", "a", "b"):
        with pytest.raises(InputError, match="not by the coordinator and two hospitals"):
            four.prepared(file, *files)
        word = asked.confirmed_by(identity.generate(), name)
        files.append(handed_over(word, tmp_path / f"{name}.confirms.toml"))
    assert four.folder.prepared_study("tabular").read_bytes() == before
    four.prepared(file, *files)
    assert load_study(four.folder.prepared_study("tabular")).site_names == ("a", "b", "c")


def test_a_hospital_is_left_out_by_its_consent_once_it_was_away_for_so_long(
    four: Four, tmp_path: Path
) -> None:
    four.ran(days_ago=31)
    said = four.prepared(consent(four, tmp_path / "away.toml"))
    assert "would be refused" not in said
    assert load_study(four.folder.prepared_study("tabular")).site_names == ("a", "b", "c")


def test_a_hospital_that_answered_not_long_ago_is_not_left_out(four: Four, tmp_path: Path) -> None:
    four.ran(days_ago=29)
    before = four.folder.prepared_study("tabular").read_bytes()
    with pytest.raises(InputError, match="may be left out after more than 30 days, and answ") as e:
        four.prepared(consent(four, tmp_path / "away.toml"))
    assert "every hospital counts in its own ledger, too" in e.value.remedy
    assert four.folder.prepared_study("tabular").read_bytes() == before


def test_a_consent_for_another_study_is_foretold_to_open_nothing(
    four: Four, tmp_path: Path
) -> None:
    four.ran(days_ago=31)
    roster = roster_digest(four.study.roster)
    other = handed_over(AbsentSite.sign(four.key, "d", roster, "0" * 64, 30), tmp_path / "o.toml")
    assert "asked without d (rule participants)" in four.prepared(other)


@pytest.mark.parametrize("text", ["", "left = []", "left = [{ site = 1 }]", "= no toml"])
def test_a_file_without_a_statement_is_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "left.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=r"left\.toml"):
        read_statements(file)


def test_a_statement_that_was_changed_makes_no_study(four: Four, tmp_path: Path) -> None:
    file = consent(four, tmp_path / "away.toml")
    file.write_text(file.read_text().replace("days = 30", "days = 7"))
    with pytest.raises(InputError, match="its consent to be left out is not one that it signed"):
        four.prepared(file)
