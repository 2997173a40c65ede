"""Bring the memory of an earlier release up to this one, in place, once it was copied.

The files that came before `site.db` are read in once. Lines that a crash tore count for nothing:
what they stood for never left. Anything else that cannot be read stops the site.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from client.store.privacy_budget import Spending
from common.errors import StudyError
from common.ledger.chain import head_path, read_head
from common.ledger.entry import Entry
from common.ledger.verify import named_key, read_entries, verify
from common.utils.durable import append_durably, make_folder

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


BEFORE = "before-site.db"
LOCK = "ledger.lock"
"""Kept a process from writing the ledger; the last to go: where it is, not all was put away."""
_IN_WORK = (
    *("approvals.json", "fixed-levels.txt", "gradients", "membership.key"),
    *("memberships", "rosters", "studies"),
)
_IN_RUNS = ("ephemeral.json", "masks-used.txt", "privacy-budget.jsonl", "cohort-*.sha256")
_PAIR = re.compile(rb"([0-9a-f]{64}) ([0-9a-f]{64})\n")
_APPROVAL = ("digest", "name", "date", "signature")


@dataclass(frozen=True)
class Memory:
    """Rows for `site.db`; of a site that has no memory yet, none."""

    facts: Sequence[tuple[str, str, str]] = ()
    questions: Sequence[tuple[str, str, str]] = ()
    approvals: Sequence[Sequence[str]] = ()
    entries: Sequence[Entry] = ()


def found(work: Path) -> bool:
    """Say whether any file of the last release lies where it left it."""
    return any((work / name).exists() for name in (*_IN_WORK, LOCK))


def read(work: Path) -> Memory:
    """Read the whole memory of a site.

    Raises
    ------
    StudyError : a file is damaged, or patients of a release are not there.
    """
    entries, facts = _entries(work), [*_facts(work)]
    kept = {name for kind, name, _ in facts if kind == "membership"}
    for entry in entries:
        for digest in {item.membership for item in entry.items if item.membership} - kept:
            if entry.decision == "released":
                raise _damaged(work / "memberships" / f"{digest}.txt")
    questions = [
        (path.parent.name, f"gradient/{table}", question)
        for path in work.glob("gradients/*/gradient-rounds.txt")
        for table, question in _pairs(path)
    ]
    path, approvals = work / "approvals.json", []
    if path.is_file():
        approvals = _parse(path, _approvals_of_studies)
    return Memory(facts, questions, approvals, entries)


def _approvals_of_studies(read: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """Leave out approvals of apps: a hospital runs what it has installed, whatever they name."""
    return [[one[name] for name in _APPROVAL] for one in read if one["kind"] != "app"]


def put_away(work: Path) -> None:
    """Move what was read into a folder of its own; from there nothing is ever read again."""
    make_folder(work / BEFORE)
    for path in work.glob("runs/*/owed-*.safetensors"):
        path.rename(path.with_name(path.name.replace("owed-", "reply-", 1)))
    for pattern in (*(f"runs/*/{name}" for name in _IN_RUNS), "ledger.torn", *_IN_WORK):
        for path in work.glob(pattern):
            target = work / BEFORE / path.relative_to(work)
            make_folder(target.parent)
            if not target.exists():
                path.rename(target)
    for pattern in ("runs/*/*.lock", "fixed-levels.lock", LOCK):
        for path in work.glob(pattern):
            path.unlink()


def _facts(work: Path) -> Iterator[tuple[str, str, str]]:
    """Kind, name and value; the first of a name is the one that holds."""
    for path in work.glob("studies/*.json"):
        yield "study", path.stem, path.read_text(encoding="utf-8")
    for path in work.glob("rosters/*.json"):
        yield "roster", path.stem, json.dumps(_parse(path, dict), sort_keys=True)
    for path in work.glob("memberships/*.txt"):
        members = "\n".join(sorted(_text(path).split()))
        if hashlib.sha256(members.encode()).hexdigest() != path.stem:
            raise _damaged(path)
        yield "membership", path.stem, members
    for path in work.glob("membership.key"):
        if not re.fullmatch("[0-9a-f]{64}", key := _text(path).strip()):
            raise _damaged(path)
        yield "membership key", "", key
    for path in work.glob("runs/*/cohort-*.sha256"):
        yield "cohort", f"{path.parent.name}/{path.stem.removeprefix('cohort-')}", _text(path)
    for path in work.glob("runs/*/owed-*.safetensors"):
        yield "reply", f"{path.parent.name}/{path.stem.removeprefix('owed-')}", "kept"
    for path in work.glob("runs/*/privacy-budget.jsonl"):
        *lines, _torn = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines):
            spent = astuple(_parse(path, lambda read: Spending(**read), line))
            yield "spending", f"{path.parent.name}/{number}", json.dumps(spent)
    for path in work.glob("runs/*/masks-used.txt"):
        yield from (("mask", *pair) for pair in _pairs(path))
    for path in work.glob("fixed-levels.txt"):
        yield from (("levels", *pair) for pair in _pairs(path))


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_bytes().splitlines(keepends=True):
        if match := _PAIR.fullmatch(line):
            yield match[1].decode(), match[2].decode()


def _entries(work: Path) -> tuple[Entry, ...]:
    """All entries of a ledger that is intact; a torn last line is cut off and kept apart."""
    path = work / "ledger.jsonl"
    written = path.read_bytes() if path.is_file() else b""
    if not written and not has_entries(work):
        return ()
    if torn := written[written.rfind(b"\n") + 1 :]:
        append_durably(path.with_suffix(".torn"), torn + b"\n")
        os.truncate(path, len(written) - len(torn))
    if findings := verify(path, named_key(path)):
        raise StudyError(
            f"the ledger of the last release is not intact: {findings[0]}",
            where=path.name,
            remedy="restore the site's work folder from its backup",
        )
    return read_entries(path)


def has_entries(work: Path) -> bool:
    """Say whether a ledger has entries, or had some by its head."""
    ledger = work / "ledger.jsonl"
    try:
        head = read_head(head_path(ledger))
    except ValueError:
        return True
    return bool(head and head.count) or (ledger.is_file() and ledger.stat().st_size > 0)


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii", errors="replace")


def _parse(path: Path, make: Callable[[Any], Any], text: bytes | None = None) -> Any:
    try:
        return make(json.loads(path.read_bytes() if text is None else text))
    except (ValueError, TypeError, KeyError):
        raise _damaged(path) from None


def _damaged(path: Path) -> StudyError:
    return StudyError(
        "what the last release remembered is lost or damaged",
        where=f"{path.parent.name}/{path.name}",
        remedy="restore the site's work folder from its backup, then start the site again",
    )
