"""`fedlnm-site doctor` names each state that keeps a site from taking part, with its cure."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from client.check.network import Contact, check_coordinator
from client.cli import app
from client.commands import doctor
from client.commands.run import only_one
from client.gate import approvals
from client.site import SiteSettings, load_site
from client.store.heads import LedgerHeads, RolledBackError
from client.store.ledger import Ledger, ledger_path
from client.store.site_db import site_db
from common.errors import InputError
from common.ledger.entry import Record
from common.masking import identity
from common.utils.versions import PACKAGE

DIGEST = "ab" * 32


@pytest.fixture
def settings(tmp_path: Path, joined_site: Any, monkeypatch: pytest.MonkeyPatch) -> SiteSettings:
    """A site that could take part: an approved study, an answer, a coordinator that is there."""
    made: SiteSettings = joined_site(tmp_path / "qilu")
    private = identity.load(made.identity).private
    approvals.approve(made.work, private, DIGEST, "larynx")
    Ledger(made.work, private).append(Record(exchange="query.sum", decision="released"))
    monkeypatch.setattr(doctor, "visit", lambda _: Contact(status=401, ahead=0.0))
    monkeypatch.setattr(doctor, "check_coordinator", lambda *_: iter(()))
    return made


def examine(settings: SiteSettings, *more: object) -> tuple[int, str]:
    folder = settings.identity.parent.parent
    done = CliRunner().invoke(app, ["doctor", str(folder), *map(str, more)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_a_site_that_is_well_has_no_fault(settings: SiteSettings) -> None:
    code, shown = examine(settings)
    assert (code, shown.splitlines()[-1]) == (0, "nothing is wrong here"), shown
    for line in ("ok     keys: all there", "ok     ledger: whole", "ok     approvals: larynx"):
        assert line in shown


def lose_key(settings: SiteSettings) -> None:
    settings.identity.unlink()


def lose_node_key(settings: SiteSettings) -> None:
    (settings.identity.parent / "node").unlink()


def put_back(settings: SiteSettings) -> None:
    with pytest.raises(RolledBackError):
        LedgerHeads(settings.work, settings.name).check_entry(9, "0" * 64)


def change_ledger(settings: SiteSettings) -> None:
    path = ledger_path(settings.work)
    path.write_text(path.read_text().replace("query.sum", "query.rows"))


def lose_memory(settings: SiteSettings) -> None:
    site_db(settings.work).path.unlink()


def take_back(settings: SiteSettings) -> None:
    approvals.revoke(settings.work, identity.load(settings.identity).private, DIGEST)


@pytest.mark.parametrize(
    ("harm", "fault", "cure"),
    [
        (lose_key, "keys: ", "restore the folder keys from its backup"),
        (lose_node_key, "the node's key is lost", "restore the folder keys from its backup"),
        (put_back, "is older than, or another than", "restore the newest backup"),
        (change_ledger, "FAULT  ledger: ledger.jsonl", "restore the newest backup"),
        (lose_memory, "FAULT  memory: ", "restored from its backup"),
        (
            take_back,
            "FAULT  approvals: no study is approved",
            "fedlnm-site approve study.toml --site /",
        ),
    ],
)
def test_a_fault_is_named_with_its_cure(
    settings: SiteSettings, harm: Callable[[SiteSettings], None], fault: str, cure: str
) -> None:
    harm(settings)
    code, shown = examine(settings)
    assert code == 1
    (line, *_) = [line for line in shown.splitlines() if fault in line]
    assert line.startswith("FAULT"), shown
    assert cure in line
    assert shown.count(line.partition(": ")[2]) == 1, "once"


def test_a_site_whose_folder_was_moved_goes_on_there_and_its_old_place_leads_on(
    settings: SiteSettings, tmp_path: Path
) -> None:
    old = settings.identity.parent.parent
    new = old.rename(tmp_path / "moved")
    moved = load_site(new / "site.toml")
    assert site_db(moved.work).ledger_end().number == 1, "it remembers what left"
    code, shown = examine(moved)
    assert code == 1
    (fault,) = [line for line in shown.splitlines() if line.startswith("FAULT")]
    assert "service: fedlnm-qilu.service: the unit of the service starts another folder" in fault
    assert f"write {new} in place of the old folder" in fault
    unit = new / "fedlnm-qilu.service"
    unit.write_text(unit.read_text().replace(str(old), str(new)))
    assert examine(moved)[0] == 0
    done = CliRunner().invoke(app, ["run", "--site", str(old)])
    assert isinstance(done.exception, InputError)
    assert f"{old}: no such file -> name the folder" in str(done.exception)
    assert "if it was moved, its new place, also in the unit of its service" in str(done.exception)


def test_a_site_that_takes_part_already_is_no_fault(settings: SiteSettings) -> None:
    with only_one(settings):
        code, shown = examine(settings)
    assert code == 0
    assert "ok     running: this site takes part already" in shown


def test_a_coordinator_that_does_not_run_now_is_no_fault_of_the_hospital(
    settings: SiteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Contact(failure=ConnectionRefusedError())
    monkeypatch.setattr(doctor, "check_coordinator", lambda one, _: check_coordinator(one, away))
    code, shown = examine(settings)
    assert code == 0, shown
    assert "waits  coordinator: " in shown
    assert "the coordinator's proxy does not run now" in shown


def test_a_strangers_port_is_a_fault(settings: SiteSettings) -> None:
    assert settings.deployment is not None
    with socket.create_server(("127.0.0.1", settings.deployment.port)):
        code, shown = examine(settings)
    assert code == 1
    assert f"another program listens on port {settings.deployment.port}" in shown


def test_another_release_is_a_fault_where_the_study_is_given(
    settings: SiteSettings, tmp_path: Path
) -> None:
    file = tmp_path / "study.toml"
    file.write_text(f"# Prepared by {PACKAGE} 99.1\n")
    code, shown = examine(settings, "--study", file)
    assert code == 1
    assert "install release 99.1 here" in shown


@pytest.mark.parametrize("put_aside", [False, True])
def test_the_last_question_that_was_not_answered_is_shown_with_its_cure(
    settings: SiteSettings, put_aside: bool
) -> None:
    entry = {"time": "2026-01-02T03:04:05+00:00", "code": "study_not_approved", "words": "study x"}
    log = settings.work / ("gate.log.1" if put_aside else "gate.log")
    log.write_text(json.dumps(entry) + "\n")
    (settings.work / "gate.log").touch()
    _, shown = examine(settings)
    assert "last refusal: 2026-01-02T03:04:05+00:00, study_not_approved: study x -> read" in shown


def test_a_coordinator_with_the_wrong_time_is_a_fault(
    settings: SiteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "visit", lambda _: Contact(status=401, ahead=3600.0))
    code, shown = examine(settings)
    assert code == 1
    assert "FAULT  clock: 3600 s ahead of the coordinator's" in shown
