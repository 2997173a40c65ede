"""The memory of a site: whole or not at all, its owner's alone, never begun anew unnoticed."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import client.store.site_db
from client.store.ledger import Ledger
from client.store.site_db import FILE, Draft, SiteDb, recall_study, remember_study, site_db
from common.errors import InputError, RefusedError, StudyError
from common.ledger.entry import Record
from tests import builders

PRIVATE = Ed25519PrivateKey.generate()


def test_what_is_remembered_is_known_to_every_process(tmp_path: Path) -> None:
    one, other = SiteDb(tmp_path), SiteDb(tmp_path)
    assert one.fix("levels", "p", "1") == "1"
    assert other.fact("levels", "p") == "1"
    assert other.fix("levels", "p", "2") == "1", "what was first stands"
    assert one.fact("levels", "p") == "1"
    assert one.fact("mask", "p") is None


def test_all_of_a_transaction_is_remembered_or_nothing(tmp_path: Path) -> None:
    db = SiteDb(tmp_path)
    with pytest.raises(KeyError), db.transaction():
        db.fix("roster", "r", "x")
        db.ask([("s", "k", "q")])
        raise KeyError
    assert (db.fact("roster", "r"), db.questions("s", "k")) == (None, frozenset())
    with db.transaction():
        db.fix("roster", "r", "x")
        assert SiteDb(tmp_path).fact("roster", "r") is None, "not before the end"
        db.ask([("s", "k", "q"), ("s", "k", "q"), ("s", "k", "p")])
    assert (SiteDb(tmp_path).fact("roster", "r"), db.questions("s", "k")) == ("x", {"q", "p"})


@pytest.mark.parametrize("sql", ["UPDATE facts SET value = 'y'", "DELETE FROM facts"])
def test_a_fact_is_never_changed(tmp_path: Path, sql: str) -> None:
    site_db(tmp_path).fix("roster", "r", "x")
    with sqlite3.connect(tmp_path / FILE) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute(sql)


def add(work: Path, start: int) -> None:
    db = SiteDb(work)
    for number in range(start, start + 20):
        with db.transaction():
            before = len(db.questions("s", "k"))
            db.ask([("s", "k", str(number))])
            assert len(db.questions("s", "k")) == before + 1


def test_several_processes_begin_it_and_wait_for_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=add, args=(tmp_path / "w", 100 * i)) for i in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 3
    assert len(SiteDb(tmp_path / "w").questions("s", "k")) == 60


def test_a_forked_process_has_a_connection_of_its_own(tmp_path: Path) -> None:
    db = SiteDb(tmp_path)
    db.fix("roster", "a", "x")
    child = os.fork()
    if not child:
        db.fix("roster", "b", "y")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    db.fix("roster", "c", "z")
    assert [db.fact("roster", name) for name in "abc"] == ["x", "y", "z"]


# -- the file --------------------------------------------------------------------------------------


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        db = SiteDb(tmp_path / "new" / "work")
        db.fix("roster", "r", "x")
        kept = [tmp_path / "new", *(tmp_path / "new").rglob("*")]
        assert {path.name for path in kept} == {"new", "work", FILE}
    finally:
        os.umask(before)
    assert not [path for path in kept if stat.S_IMODE(path.stat().st_mode) & 0o077]


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    SiteDb(tmp_path).fix("roster", "r", "x")
    (tmp_path / FILE).chmod(mode)
    with pytest.raises(InputError, match=r"chmod 600 site\.db"):
        SiteDb(tmp_path).fact("roster", "r")


def test_it_is_written_to_the_disk_with_every_transaction(tmp_path: Path) -> None:
    db = SiteDb(tmp_path)
    db.fix("roster", "r", "x")
    connection = db._connect()
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (3,), "EXTRA"


def test_a_write_ahead_log_beside_the_file_is_refused_and_not_replayed(tmp_path: Path) -> None:
    """Beside an older copy of the file it would hide what that copy has forgotten."""
    SiteDb(tmp_path).fix("roster", "r", "x")
    (tmp_path / f"{FILE}-wal").write_bytes(b"")
    with pytest.raises(StudyError, match="lies beside it"):
        SiteDb(tmp_path).fact("roster", "r")


def test_all_of_the_memory_is_in_its_file_when_a_process_ends_without_closing(
    tmp_path: Path,
) -> None:
    process = os.fork()
    if process == 0:
        SiteDb(tmp_path).fix("roster", "r", "x")
        os._exit(0)
    os.waitpid(process, 0)
    assert {path.name for path in tmp_path.iterdir()} == {FILE}
    assert SiteDb(tmp_path).fact("roster", "r") == "x"


def test_looking_into_a_memory_that_has_not_begun_leaves_no_trace(tmp_path: Path) -> None:
    db = SiteDb(tmp_path / "work")
    assert db.fact("roster", "r") is None
    assert db.approvals() == []
    assert db.ledger_end().number == 0
    assert not (tmp_path / "work").exists()


# -- lost, damaged, full ---------------------------------------------------------------------------


def lose(work: Path) -> None:
    """Delete the file while no process of the site runs."""
    site_db.cache_clear()
    for path in work.glob(f"{FILE}*"):
        path.unlink()


USES: dict[str, Callable[[Path], Any]] = {
    "reading": lambda work: SiteDb(work).fact("roster", "r"),
    "remembering": lambda work: SiteDb(work).fix("roster", "r", "x"),
    "the ledger": lambda work: Ledger(work, PRIVATE).append(RECORD),
}
RECORD = Record(exchange="query.sum", decision="stopped", reason="value")


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("left", ["ledger and head", "ledger", "head"])
def test_a_memory_that_is_missing_where_the_ledger_has_entries_is_refused(
    tmp_path: Path, use: str, left: str
) -> None:
    Ledger(tmp_path, PRIVATE).append(RECORD)
    lose(tmp_path)
    if left == "ledger":
        (tmp_path / "ledger.head.json").unlink()
    if left == "head":
        (tmp_path / "ledger.jsonl").unlink()
    with pytest.raises(StudyError, match="missing, though its ledger has entries") as refused:
        USES[use](tmp_path)
    assert refused.value.where == str(tmp_path / FILE)
    assert "restored from its backup" in refused.value.remedy
    assert not (tmp_path / FILE).exists()


def test_a_memory_that_is_deleted_under_a_running_process_stops_it(tmp_path: Path) -> None:
    db = SiteDb(tmp_path)
    Ledger(tmp_path, PRIVATE).append(RECORD)
    assert db.fact("roster", "r") is None
    lose(tmp_path)
    for use in (lambda: db.fact("roster", "r"), lambda: db.fix("roster", "r", "x")):
        with pytest.raises(StudyError, match="missing, though its ledger has entries"):
            use()


def test_a_journal_of_sqlite_without_its_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / f"{FILE}-journal").write_bytes(b"pages of a transaction that did not end")
    with pytest.raises(StudyError, match="missing"):
        SiteDb(tmp_path).fix("roster", "r", "x")


def test_a_memory_of_nothing_released_may_be_begun_anew(tmp_path: Path) -> None:
    Ledger(tmp_path, PRIVATE).catch_up()
    lose(tmp_path)
    assert Ledger(tmp_path, PRIVATE).append(RECORD).number == 1


def damaged(path: Path) -> None:
    pages = path.read_bytes()
    path.write_bytes(pages[:100] + os.urandom(len(pages) - 100))


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "not SQLite": lambda path: path.write_bytes(b"what is this?" * 400),
    "damaged pages": damaged,
    "of something else": lambda path: path.write_bytes(another(path)),
}


def another(path: Path) -> bytes:
    other = path.with_name("other.db")
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE t (x)")
    return other.read_bytes()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_memory_stops_the_site_with_what_where_and_remedy(
    tmp_path: Path, damage: str
) -> None:
    Ledger(tmp_path, PRIVATE).append(RECORD)
    site_db.cache_clear()
    content = (tmp_path / FILE).read_bytes()
    lose(tmp_path)
    (tmp_path / FILE).write_bytes(content)
    (tmp_path / FILE).chmod(0o600)
    DAMAGES[damage](tmp_path / FILE)
    for use in ("reading", "remembering", "the ledger"):
        with pytest.raises(StudyError, match="memory") as refused:
            USES[use](tmp_path)
        assert refused.value.where == str(tmp_path / FILE)
        assert "backup" in refused.value.remedy


def test_a_full_disk_is_said_and_nothing_is_remembered_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = SiteDb(tmp_path)
    db.fix("roster", "r", "x")
    pages = db._connect().execute("PRAGMA page_count").fetchone()[0]
    db._connect().execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StudyError, match="the disk is full") as refused, db.transaction():
        db.fix("roster", "small", "y")
        db.fix("roster", "large", "y" * 100_000)
    assert refused.value.remedy == "free space on the disk of the work folder"
    assert SiteDb(tmp_path).fact("roster", "small") is None
    db._connect().execute("PRAGMA max_page_count = 100000")
    assert db.fix("roster", "large", "y" * 100_000)


def test_a_process_that_keeps_the_file_to_itself_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.store.site_db, "PATIENCE_SECONDS", 0.01)
    db, other = SiteDb(tmp_path), SiteDb(tmp_path)
    with (
        db.transaction(),
        pytest.raises(StudyError, match="another process of this site"),
        other.transaction(),
    ):
        pass
    assert other.fix("roster", "r", "x") == "x"


def test_a_work_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "work").write_bytes(b"a file")
    with pytest.raises(StudyError, match="the work folder cannot be used"):
        SiteDb(tmp_path / "work").fix("roster", "r", "x")


def test_a_backup_put_back_under_a_running_process_stops_it(tmp_path: Path) -> None:
    db = SiteDb(tmp_path / "a")
    db.fix("roster", "r", "x")
    backup = SiteDb(tmp_path / "b")
    backup.fix("roster", "r", "y")
    backup._connect().close()
    lose(tmp_path / "a")
    (tmp_path / "b" / FILE).rename(tmp_path / "a" / FILE)
    with pytest.raises(StudyError, match="replaced while in use") as refused:
        db.fact("roster", "r")
    assert refused.value.remedy == "start the site again"
    assert SiteDb(tmp_path / "a").fact("roster", "r") == "y"


# -- drafts and studies ----------------------------------------------------------------------------


def test_a_draft_is_known_to_its_reply_and_to_nobody_else(tmp_path: Path) -> None:
    draft, other = Draft(tmp_path), Draft(tmp_path)
    assert draft.fix("mask", "use", "one")
    assert draft.fix("mask", "use", "one")
    assert not draft.fix("mask", "use", "another")
    assert other.fix("mask", "use", "another")
    draft.remember()
    assert not Draft(tmp_path).fix("mask", "use", "another")
    with pytest.raises(RefusedError, match="both must not leave"):
        other.remember()
    assert SiteDb(tmp_path).fact("mask", "use") == "one"


def test_a_dropped_draft_was_never_there(tmp_path: Path) -> None:
    draft = Draft(tmp_path)
    draft.fix("mask", "use", "one")
    draft.drop()
    draft.remember()
    assert draft.fix("mask", "use", "another")


def test_a_study_is_recalled_by_digest_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    study = builders.study()
    remember_study(tmp_path, study)
    remember_study(tmp_path, study)
    assert recall_study(tmp_path, study.digest()) == study
    changed = study.model_dump_json().replace('"folds":5', '"folds":4')
    assert changed != study.model_dump_json()
    site_db(tmp_path).fix("study", "1" * 64, changed)
    with pytest.raises(StudyError, match="another digest"):
        recall_study(tmp_path, "1" * 64)
    with pytest.raises(StudyError, match="not enrolled"):
        recall_study(tmp_path, "0" * 64)


# -- keys and questions of runs ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forgotten", "left"),
    [(("s",), "t"), (("s", "r"), "t"), (("s", "other"), "st"), (("t", "q"), "s")],
)
def test_keys_are_forgotten_by_study_and_run(
    tmp_path: Path, forgotten: tuple[str, ...], left: str
) -> None:
    memory = SiteDb(tmp_path)
    memory.keep_run_key("s", "r", "session", "start", "sealed")
    memory.keep_run_key("t", "q", "session", "start", "sealed")
    memory.forget_run_keys(*forgotten)
    held = {"s": memory.run_key("s", "r", "session", "start")}
    held["t"] = memory.run_key("t", "q", "session", "start")
    assert "".join(study for study, key in held.items() if key) == left


def test_keys_of_a_step_outlive_the_program_and_sealed_pairs_do_not(tmp_path: Path) -> None:
    """A sum that all sites have signed waits for the keys of a site that was started again."""
    memory = SiteDb(tmp_path)
    memory.keep_run_key("s", "r", "session", "start", "sealed")
    memory.keep_step_keys("s", "r", "dl3d/final/0", "context", "keys")
    memory.forget_sealed_keys()
    assert memory.run_key("s", "r", "session", "start") is None
    assert memory.step_keys("s", "r", "dl3d/final/0", "context") == "keys"
    memory.forget_run_keys("s", "r")
    assert memory.step_keys("s", "r", "dl3d/final/0", "context") is None


def test_the_last_question_of_a_run_is_the_one_with_the_highest_number(tmp_path: Path) -> None:
    memory = SiteDb(tmp_path)
    assert memory.last_number("question", "r") == -1
    for name in ("r/2", "r/10", "r/9", "r2/30", "another/40"):
        memory.fix("question", name, "clinical digest")
    assert memory.last_number("question", "r") == 10
