"""A site's memory of the version before is brought up to this one, and a copy of it stays."""

from __future__ import annotations

import multiprocessing
import sqlite3
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.store import migration
from client.store.ledger import Ledger
from client.store.migration import VERSION, copy_of
from client.store.site_db import FILE, SiteDb
from common.errors import StudyError
from common.ledger.entry import Record

PRIVATE = Ed25519PrivateKey.generate()
RECORD = Record(exchange="query.sum", decision="stopped", reason="value")
LOCKED = 7
ADDED = ("reserved", "run_keys", "step_keys", "entries", "heads")


def tables(path: Path) -> set[str]:
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {row[0] for row in rows}


def set_version(path: Path, version: int) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {version}")


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """Work folder as the first version left it: two entries in the ledger, and one fact."""
    ledger = Ledger(tmp_path, PRIVATE)
    for _ in range(2):
        ledger.append(RECORD)
    SiteDb(tmp_path).fix("roster", "r", "x")
    with sqlite3.connect(tmp_path / FILE) as connection:
        for table in ADDED:
            connection.execute(f"DROP TABLE {table}")
    set_version(tmp_path / FILE, 1)
    return tmp_path


def test_what_was_remembered_stays_and_what_came_later_is_added(first: Path) -> None:
    db = SiteDb(first)
    assert db.fact("roster", "r") == "x"
    assert set(ADDED) <= tables(first / FILE)
    entries = Ledger(first, PRIVATE).entries()
    assert [db.entry_hash(entry.number) for entry in entries] == [one.hash for one in entries]
    third = Ledger(first, PRIVATE).append(RECORD)
    assert (third.number, db.entry_hash(3)) == (3, third.hash)


def test_the_memory_of_before_stays_as_a_copy_for_its_owner_alone(first: Path) -> None:
    before = (first / FILE).read_bytes()
    SiteDb(first).fact("roster", "r")
    copy = copy_of(first / FILE, 1)
    assert copy.read_bytes() == before
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_nobody_gets_in_while_the_copy_is_being_made(
    first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, copied = [], migration.write_copy
    with monkeypatch.context() as patch:

        def copy_and_knock(*args: Any) -> None:
            copied(*args)
            ended.append(in_another_process(lock, first))

        patch.setattr(migration, "write_copy", copy_and_knock)
        SiteDb(first).fact("roster", "r")
    assert ended == [LOCKED]
    assert in_another_process(lock, first) == 0


def in_another_process(target: Any, work: Path) -> int | None:
    process = multiprocessing.get_context("spawn").Process(target=target, args=(work,))
    process.start()
    process.join()
    return process.exitcode


def lock(work: Path) -> None:
    connection = sqlite3.connect(work / FILE, timeout=0, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        sys.exit(LOCKED)


def look(work: Path) -> None:
    assert SiteDb(work).fact("roster", "r") == "x"


def test_several_processes_bring_it_up_once(first: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=look, args=(first,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(list(first.glob(f"{FILE}.version-*"))) == 1


def test_a_memory_of_no_known_version_is_refused(first: Path) -> None:
    set_version(first / FILE, 0)
    with pytest.raises(StudyError, match="of another release"):
        SiteDb(first).fact("roster", "r")


def test_the_memory_of_a_newer_release_is_refused_with_both_versions(first: Path) -> None:
    set_version(first / FILE, VERSION + 1)
    with pytest.raises(
        StudyError, match=rf"is {VERSION + 1}, and release .* knows {VERSION}"
    ) as no:
        SiteDb(first).fact("roster", "r")
    assert "install that release again" in no.value.remedy
