"""Bring the memory of an earlier release up to this one, in place, once it was copied."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from common.ledger.verify import read_entries

VERSION = 2
ADDED = (
    # questions that are being answered, or were when a process died: with all that each counts as
    "CREATE TABLE IF NOT EXISTS reserved (study TEXT NOT NULL, request TEXT NOT NULL,"
    " kind TEXT NOT NULL, question TEXT NOT NULL,"
    " PRIMARY KEY (study, request, kind, question)) WITHOUT ROWID",
    # sealed key pairs of runs, deleted when they are used no more
    "CREATE TABLE IF NOT EXISTS run_keys (study TEXT NOT NULL, run TEXT NOT NULL,"
    " session TEXT NOT NULL, start TEXT NOT NULL, value TEXT NOT NULL,"
    " PRIMARY KEY (study, run, session)) WITHOUT ROWID",
    # keys of steps of trainings, deleted when their sum is opened
    "CREATE TABLE IF NOT EXISTS step_keys (study TEXT NOT NULL, run TEXT NOT NULL,"
    " step TEXT NOT NULL, context TEXT NOT NULL, value TEXT NOT NULL,"
    " PRIMARY KEY (study, run, step, context)) WITHOUT ROWID",
    # hash of every entry of the ledger, and how far the ledgers of other sites were seen
    "CREATE TABLE IF NOT EXISTS entries (number INTEGER PRIMARY KEY, hash TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS heads (site TEXT NOT NULL, key TEXT NOT NULL,"
    " session TEXT NOT NULL, entries INTEGER NOT NULL, hash TEXT NOT NULL,"
    " PRIMARY KEY (site, key)) WITHOUT ROWID",
    f"PRAGMA user_version = {VERSION}",
)
"""Tables that came after the first version, and the number of this one."""


def copy_of(path: Path, version: int) -> Path:
    """Return the name of the copy that is kept of a memory of an earlier version."""
    return path.with_name(f"{path.name}.version-{version}")


def migrate(connection: sqlite3.Connection, path: Path, ledger: Path) -> None:
    """Add what this release remembers besides, unless another process was faster.

    Parameters
    ----------
    path : of the memory, beside which its copy is put.
    ledger : `ledger.jsonl`, whose entries the earlier version did not know by number.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version < VERSION:
            write_copy(connection, copy_of(path, version))
            for statement in ADDED:
                connection.execute(statement)
            rows = [(one.number, one.hash) for one in read_entries(ledger)]
            connection.executemany("INSERT OR IGNORE INTO entries VALUES (?, ?)", rows)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def write_copy(connection: sqlite3.Connection, copy: Path) -> None:
    """Write the memory into another file.

    Notes
    -----
    It is read through its own connection: closing a second handle of the file would cancel all
    locks that this process holds on it, and another one could migrate at the same time (SQLite,
    "How to corrupt an SQLite database file", section 2.2).
    """
    copy.unlink(missing_ok=True)
    handle = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(connection.serialize())
        file.flush()
        os.fsync(file.fileno())
