"""A hospital's backup, and its restoration, say what they do to the ledger."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from client.cli import app
from client.commands.run import only_one
from client.importing.archive import SPOOL
from client.site import SiteSettings, load_site
from client.store.heads import LedgerHeads, RolledBackError
from client.store.ledger import Ledger, ledger_path
from client.store.site_db import site_db
from common.errors import InputError, StudyError
from common.ledger.entry import Record
from common.ledger.verify import verify
from common.masking import identity


@pytest.fixture
def settings(tmp_path: Path, joined_site: Any) -> SiteSettings:
    return joined_site(tmp_path / "qilu")


def give(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def said(done: Result) -> str:
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def answer(settings: SiteSettings) -> None:
    private = identity.load(settings.identity).private
    Ledger(settings.work, private).append(Record(exchange="query.sum", decision="released"))


def test_a_site_goes_on_from_its_newest_backup(settings: SiteSettings, tmp_path: Path) -> None:
    answer(settings)
    answer(settings)
    (settings.work / "site.log").write_text("log")
    (settings.data).mkdir(exist_ok=True)
    (settings.data / "cohort.csv").write_text("patients")
    (tmp_path / "qilu" / "proxy.env").write_text("https_proxy=http://proxy:3128\n")
    out, back = tmp_path / "qilu.backup", tmp_path / "back"
    shown = said(give("backup", tmp_path / "qilu", "--out", out))
    assert "ledger of 2 entries, the last of" in shown
    assert "too old to go on from: make one after every run" in shown
    shown = said(give("restore", out, back))
    assert "WHAT THIS DOES TO THE LEDGER: it goes on after that entry" in shown
    assert "answers nothing (rolled_back)" in shown
    again = load_site(back / "site.toml")
    public = identity.load(again.identity).private.public_key()
    assert not verify(ledger_path(again.work), public)
    assert not (again.work / "site.log").exists()
    (unit,) = back.glob("*.service")
    assert f"WorkingDirectory={back}\n" in unit.read_text()
    assert (back / "proxy.env").read_text() == "https_proxy=http://proxy:3128\n"
    assert not list((back / "data").iterdir()), "patients are no part of a backup"
    answer(again)
    assert site_db(again.work).ledger_end().number == 3


def test_an_older_copy_is_noticed_and_not_backed_up(settings: SiteSettings, tmp_path: Path) -> None:
    answer(settings)
    with pytest.raises(RolledBackError):
        LedgerHeads(settings.work, settings.name).check_entry(5, "0" * 64)
    done = give("backup", tmp_path / "qilu", "--out", tmp_path / "old")
    assert isinstance(done.exception, RolledBackError)
    assert not (tmp_path / "old").exists()


def test_a_site_that_takes_part_is_not_backed_up(settings: SiteSettings, tmp_path: Path) -> None:
    with only_one(settings):
        done = give("backup", tmp_path / "qilu", "--out", tmp_path / "file")
    assert isinstance(done.exception, StudyError)
    assert "takes part already" in str(done.exception)


def test_a_backup_is_put_back_into_a_new_folder_alone(
    settings: SiteSettings, tmp_path: Path
) -> None:
    said(give("backup", tmp_path / "qilu", "--out", tmp_path / "file"))
    done = give("restore", tmp_path / "file", tmp_path / "qilu")
    assert isinstance(done.exception, InputError)
    assert "a backup overwrites nothing" in str(done.exception)
    shutil.rmtree(tmp_path / "qilu")
    assert "nothing has left this site yet" in said(
        give("restore", tmp_path / "file", tmp_path / "qilu")
    )


def test_folders_elsewhere_are_left_to_the_hospital(settings: SiteSettings, tmp_path: Path) -> None:
    file = tmp_path / "qilu" / "site.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('work = "work"', f'work = "{tmp_path}/elsewhere"'), "utf-8")
    done = give("backup", tmp_path / "qilu", "--out", tmp_path / "file")
    assert "work and keys do not lie in the folder of site.toml" in str(done.exception)


def test_images_with_names_that_an_interrupted_import_has_left_are_not_in_a_backup(
    settings: SiteSettings, tmp_path: Path
) -> None:
    left = settings.work / SPOOL / "series"
    left.mkdir(parents=True)
    (left / "1.dcm").write_bytes(b"Vandersnoot")
    answer(settings)
    said(give("backup", tmp_path / "qilu", "--out", tmp_path / "qilu.backup"))
    assert b"Vandersnoot" not in (tmp_path / "qilu.backup").read_bytes()
    assert SPOOL.encode() not in (tmp_path / "qilu.backup").read_bytes()
