"""The memory of a site: one SQLite file, `site.db`, with everything that it must not forget.

It lies in the work folder beside the signed `ledger.jsonl`. A release is remembered in one
transaction, with the line that the ledger is to have of it; then the line is written; then the
reply leaves. A crash in between leaves a release remembered that never left, never the reverse.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from client.store import migration
from client.store.privacy_budget import Spending
from common.errors import InputError, RefusedError, StudyError
from common.ledger.chain import FIRST
from common.ledger.entry import Entry, Item
from common.study.model import Study
from common.study.release_mark import own_release
from common.utils.durable import alone, exposed_mode, make_folder, sync_folder

FILE = "site.db"
PATIENCE_SECONDS = 60.0
_SCHEMA = (
    # written once, never changed
    "CREATE TABLE facts (kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,"
    " PRIMARY KEY (kind, name)) WITHOUT ROWID",
    "CREATE TRIGGER facts_stay BEFORE UPDATE ON facts BEGIN SELECT RAISE(ABORT, 'a fact'); END",
    "CREATE TRIGGER facts_last BEFORE DELETE ON facts BEGIN SELECT RAISE(ABORT, 'a fact'); END",
    # different questions of a study, counted by kind
    "CREATE TABLE questions (study TEXT NOT NULL, kind TEXT NOT NULL, question TEXT NOT NULL,"
    " PRIMARY KEY (study, kind, question)) WITHOUT ROWID",
    # which patients were released about, and among which sites their sums were hidden
    "CREATE TABLE releases (membership TEXT NOT NULL, subset TEXT NOT NULL, study TEXT NOT NULL,"
    " roster TEXT NOT NULL, participants TEXT NOT NULL,"
    " PRIMARY KEY (membership, subset, study, roster, participants)) WITHOUT ROWID",
    "CREATE TABLE approvals (id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE,"
    " name TEXT NOT NULL, date TEXT NOT NULL, signature TEXT NOT NULL)",
    # the end of ledger.jsonl with its last line, which a crash may have kept from being written
    "CREATE TABLE ledger (one INTEGER PRIMARY KEY CHECK (one = 1), count INTEGER NOT NULL,"
    " hash TEXT NOT NULL, size INTEGER NOT NULL, line BLOB NOT NULL)",
    *migration.ADDED,
)
_RESTORE = (
    "nothing leaves until the site's work folder is restored from its backup, site.db and"
    " ledger.jsonl together"
)
_FAILURES = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free space on the disk of the work folder"),
    sqlite3.SQLITE_IOERR: ("the disk is full or fails", "look after the disk of the work folder"),
    sqlite3.SQLITE_BUSY: (
        "another process of this site has kept the file to itself",
        "stop the site, see that no process of it is left, and start it again",
    ),
    sqlite3.SQLITE_READONLY: ("the file cannot be written", "give this user the work folder"),
    sqlite3.SQLITE_CANTOPEN: ("the file cannot be opened", "give this user the work folder"),
}
_DAMAGED = ("the site's memory is damaged", _RESTORE)

_Key = Literal["membership key", "draw secret"]
_Content = Literal["study", "roster", "membership", "values"]
_Derived = Literal[
    "contribution", "group key", "enrolment", "keys asked", "question", "derivation", "stand-in"
]
_Step = Literal["round", "opened", "revealed"]
_Made = Literal[
    "cohort",
    "dealing",
    "mask",
    "levels",
    "update",
    "reply",
    "spending",
    "unique rows",
    "canaries",
    "rolled back",
    "start",
    "absence",
    "consent",
    "validation",
]
Kind = _Key | _Content | _Derived | _Step | _Made
REFUSED = "refused"
# rules that look at nothing but the questions before
_LIMITS = frozenset(
    {"refusals", "releases", "rows_once", "privacy_budget", "update", "opened", "departures"}
)
# stops of the gate that depend on the numbers of a reply; others on its form or the request alone
_STOPS_BY_NUMBERS = frozenset({"value", "too_few", "not_masked", "problem"})


class Companions(NamedTuple):
    """Sites among whose numbers a sum was hidden; digests of their roster and of the study."""

    participants: tuple[str, ...]
    roster: str
    study: str


@dataclass(frozen=True)
class LedgerEnd:
    """Number and hash of the last entry of the ledger, bytes up to its end, and its line."""

    number: int
    hash: str
    size: int
    line: bytes


class SeenHead(NamedTuple):
    """End of another site's ledger, with the enrolment for which it last announced a key."""

    session: str
    entries: int
    hash: str


class SiteDb:
    """The memory of one site, open in any number of processes. Take it from `site_db`.

    Every method is a transaction of its own, or part of the one that is open. A site without any
    memory is read as an empty one, and gets its file with the first thing to remember.
    """

    def __init__(self, work: Path) -> None:
        self.path, self._work = work / FILE, work
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int, int] = (0, 0, 0)
        # written with the next transaction
        self._seen: dict[tuple[str, str], SeenHead] = {}

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Remember all that happens inside, or nothing of it; other processes wait meanwhile.

        Raises
        ------
        StudyError : the file is lost or damaged, or the disk is full.
        """
        with self._lock, self._explained():
            connection = self._connect()
            if connection.in_transaction:
                yield
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                seen = dict(self._seen)
                rows = [(*owner, *head) for owner, head in seen.items()]
                connection.executemany("REPLACE INTO heads VALUES (?, ?, ?, ?, ?)", rows)
                yield
                connection.execute("COMMIT")
                self._seen = {o: h for o, h in self._seen.items() if seen.get(o) != h}
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    # -- facts and questions -----------------------------------------------------------------------

    def fact(self, kind: Kind, name: str) -> str | None:
        """Return a fact, None where it is not known."""
        found = self._read("SELECT value FROM facts WHERE kind = ? AND name = ?", kind, name)
        return str(found[0][0]) if found else None

    def facts(self, kind: Kind, run: str) -> list[str]:
        """Return all facts of a kind whose names begin with a run's and a stroke."""
        sql = "SELECT value FROM facts WHERE kind = ? AND name > ? AND name < ?"
        return [str(row[0]) for row in self._read(sql, kind, f"{run}/", f"{run}0")]

    def fix(self, kind: Kind, name: str, value: str) -> str:
        """Remember a fact unless one of this name is known; return the one that now stands."""
        with self.transaction():
            self._write("INSERT OR IGNORE INTO facts VALUES (?, ?, ?)", (kind, name, value))
            return str(self.fact(kind, name))

    def questions(self, study: str, kind: str) -> frozenset[str]:
        """Return the different questions of a study, by digest.

        Parameters
        ----------
        kind : an exchange = those it released an answer to; "refused" = those that were refused,
            or failed, which says something about the numbers; others as `Releases` names them.
        """
        sql = "SELECT question FROM questions WHERE study = ? AND kind = ?"
        return frozenset(row[0] for row in self._read(sql, study, kind))

    def counted(self, study: str, kind: str) -> frozenset[str]:
        """Return `questions` with those that are being answered: each may turn out as any other."""
        sql = "SELECT question FROM reserved WHERE study = ? AND kind = ?"
        reserved = frozenset(row[0] for row in self._read(sql, study, kind))
        return self.questions(study, kind) | reserved

    def reserve(self, study: str, request: str, counts: Iterable[tuple[str, str]]) -> None:
        """Count a request before it is answered, until `settle`; as kinds and questions."""
        rows = [(study, request, kind, question) for kind, question in counts]
        self._write("INSERT OR IGNORE INTO reserved VALUES (?, ?, ?, ?)", *rows)

    def settle(self, study: str, request: str) -> None:
        """End a reservation: the request is answered, and counts as what came of it."""
        self._write("DELETE FROM reserved WHERE study = ? AND request = ?", (study, request))

    def ask(self, questions: Iterable[tuple[str, str, str]]) -> None:
        """Remember questions: study, kind, digest."""
        self._write("INSERT OR IGNORE INTO questions VALUES (?, ?, ?)", *questions)

    def last_number(self, kind: Kind, run: str) -> int:
        """Return the highest number of the facts of a kind that a run has by number, -1 if none."""
        sql = "SELECT name FROM facts WHERE kind = ? AND name > ? AND name < ?"
        names = [row[0] for row in self._read(sql, kind, f"{run}/", f"{run}0")]
        return max((int(name.rpartition("/")[2]) for name in names), default=-1)

    def spendings(self, run: str) -> tuple[Spending, ...]:
        """Return what the private trainings of a run cost."""
        return tuple(Spending(*json.loads(value)) for value in self.facts("spending", run))

    def all_spendings(self) -> tuple[tuple[str, Spending], ...]:
        """Return what the private trainings of all runs cost, each with the name of its run."""
        found = self._read("SELECT name, value FROM facts WHERE kind = 'spending' ORDER BY name")
        return tuple(
            (name.rpartition("/")[0], Spending(*json.loads(value))) for name, value in found
        )

    # -- keys of runs ------------------------------------------------------------------------------

    def run_key(self, study: str, run: str, session: str, start: str) -> str | None:
        """Return the sealed pair of an enrolment, if it was made in this start of the program."""
        sql = "SELECT value FROM run_keys WHERE study = ? AND run = ? AND session = ? AND start = ?"
        found = self._read(sql, study, run, session, start)
        return str(found[0][0]) if found else None

    def keep_run_key(self, study: str, run: str, session: str, start: str, value: str) -> None:
        """Keep a sealed pair; delete the others of the study, and those of other starts."""
        with self.transaction():
            self._write("DELETE FROM run_keys WHERE study = ? OR start != ?", (study, start))
            row = (study, run, session, start, value)
            self._write("INSERT INTO run_keys VALUES (?, ?, ?, ?, ?)", row)

    def forget_sealed_keys(self) -> None:
        """Delete the key pairs of earlier starts, which nobody can open.

        Keys of steps stay: a sum that sites have signed may wait for those of this one.
        """
        if self._read("SELECT 1 FROM run_keys LIMIT 1"):
            self._write("DELETE FROM run_keys", ())

    def forget_run_keys(self, study: str, run: str = "") -> None:
        """Delete key pairs, and keys of steps, which are used no more.

        Parameters
        ----------
        study, run : whose; without `run` of all runs.
        """
        if self._read("SELECT 1 FROM run_keys UNION ALL SELECT 1 FROM step_keys LIMIT 1"):
            with self.transaction():
                self._write("DELETE FROM run_keys WHERE study = ? AND ? IN ('', run)", (study, run))
                self._write(
                    "DELETE FROM step_keys WHERE study = ? AND ? IN ('', run)", (study, run)
                )

    def step_keys(self, study: str, run: str, step: str, context: str) -> str | None:
        """Return a site's keys of one step of a training, None where it has none."""
        sql = "SELECT value FROM step_keys WHERE study = ? AND run = ? AND step = ? AND context = ?"
        found = self._read(sql, study, run, step, context)
        return str(found[0][0]) if found else None

    def keep_step_keys(self, study: str, run: str, step: str, context: str, value: str) -> None:
        """Keep keys of a step in place of those of other steps, whose sums are open by now."""
        with self.transaction():
            sql = "DELETE FROM step_keys WHERE study = ? AND run = ? AND step != ?"
            self._write(sql, (study, run, step))
            row = (study, run, step, context, value)
            self._write("INSERT OR IGNORE INTO step_keys VALUES (?, ?, ?, ?, ?)", row)

    # -- approvals ---------------------------------------------------------------------------------

    def approvals(self) -> list[tuple[Any, ...]]:
        """Return digest, name, date and signature of every approval, in order."""
        return self._read("SELECT digest, name, date, signature FROM approvals ORDER BY id")

    def approve(self, approvals: Iterable[Sequence[str]]) -> None:
        """Remember approvals; one of the same study takes the place of the earlier."""
        rows = [tuple(one) for one in approvals]
        self._write("INSERT OR REPLACE INTO approvals VALUES (NULL, ?, ?, ?, ?)", *rows)

    def revoke(self, digest: str) -> None:
        """Forget an approval."""
        self._write("DELETE FROM approvals WHERE digest = ?", (digest,))

    # -- what the ledger tells ---------------------------------------------------------------------

    def memberships(self) -> tuple[str, ...]:
        """Return the digests of all memberships under which anything was released.

        The sums of one patient follow from any two statistics that hold each other's numbers, such
        as moments and a Gram matrix; and the next study may call its test set otherwise. So the
        rule looks at the patients, and at neither the statistic nor the subset.
        """
        sql = "SELECT DISTINCT membership FROM releases ORDER BY membership"
        return tuple(row[0] for row in self._read(sql))

    def companions(self, membership: str) -> tuple[Companions, ...]:
        """Return the sites that the same patients were summed with; sums in the clear have none."""
        sql = (
            "SELECT DISTINCT participants, roster, study FROM releases"
            " WHERE membership = ? AND participants != '[]' ORDER BY 1, 2, 3"
        )
        found = self._read(sql, membership)
        return tuple(Companions(tuple(json.loads(p)), r, study) for p, r, study in found)

    def ledger_end(self) -> LedgerEnd:
        """Return where the ledger ends, or will when its last line is written."""
        found = self._read("SELECT count, hash, size, line FROM ledger")
        return LedgerEnd(*found[0]) if found else LedgerEnd(0, FIRST, 0, b"")

    def entry_hash(self, number: int) -> str | None:
        """Return the hash of an entry of the ledger; None where it has no entry of this number."""
        found = self._read("SELECT hash FROM entries WHERE number = ?", number)
        return str(found[0][0]) if found else None

    def head(self, site: str, key: str) -> SeenHead | None:
        """Return how far the ledger of another site was seen, None where it never was.

        Parameters
        ----------
        key : its identity key (base64).
        """
        if (seen := self._seen.get((site, key))) is not None:
            return seen
        sql = "SELECT session, entries, hash FROM heads WHERE site = ? AND key = ?"
        found = self._read(sql, site, key)
        return SeenHead(*found[0]) if found else None

    def see_head(self, site: str, key: str, session: str, entries: int, digest: str) -> None:
        """Remember an end, if it is further and of the enrolment that the site has keys for."""
        known = self.head(site, key)
        if known is not None and known.session == session and entries > known.entries:
            self._seen[site, key] = SeenHead(session, entries, digest)

    def announce_head(self, site: str, key: str, session: str, entries: int, digest: str) -> None:
        """Remember the end that a site announced with its key for an enrolment."""
        self._seen[site, key] = SeenHead(session, entries, digest)

    def note(self, entry: Entry) -> None:
        """Remember what an entry says, and that it is the last of the ledger."""
        line, released = entry.line(), entry.decision == "released"
        with self.transaction():
            self.ask((entry.study, kind, question) for kind, question in _questions(entry))
            self._write(
                "INSERT OR IGNORE INTO releases VALUES (?, ?, ?, ?, ?)",
                *(_release(entry, i) for i in entry.items if released and i.membership),
            )
            self._write("INSERT INTO entries VALUES (?, ?)", (entry.number, entry.hash))
            self._write(
                "UPDATE ledger SET count = ?, hash = ?, size = size + ?, line = ?",
                (entry.number, entry.hash, len(line), line),
            )

    # -- the file ----------------------------------------------------------------------------------

    def _read(self, sql: str, *values: Any) -> list[Any]:
        with self._lock, self._explained():
            if self._connection is None and not self._begun():
                return []
            return self._connect().execute(sql, values).fetchall()

    def _write(self, sql: str, *rows: tuple[Any, ...]) -> None:
        if rows:
            with self.transaction():
                self._connect().executemany(sql, rows)

    def _begun(self) -> bool:
        return self.path.exists() or migration.found(self._work) or self._is_lost()

    def _is_lost(self) -> bool:
        """Say whether there was a memory: of it the ledger, or SQLite's journal, is left."""
        journal = self.path.with_name(f"{FILE}-journal")
        return migration.has_entries(self._work) or journal.exists()

    def _connect(self) -> sqlite3.Connection:
        """Return the connection; a new one after a fork, or where the file is gone."""
        here, found = self._connection, self._identity()
        if here is not None and (here.in_transaction or self._opened == found):
            return here
        if here is not None and found is not None and self._opened[0] == found[0]:
            raise self._error("the site's memory was replaced while in use", "start the site again")
        self._connection = None
        if found is None:
            if here is not None:
                here.close()
            self._create()
        elif migration.found(self._work):
            self._take_over()
        if mode := exposed_mode(self.path):
            raise InputError(
                f"other users of this machine can read the site's memory (mode {mode:04o})",
                where=FILE,
                remedy=f"chmod 600 {FILE}",
            )
        if self.path.with_name(f"{FILE}-wal").exists():
            raise self._error("a log that is not of the site's memory lies beside it")
        connection = _open(self.path)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version and version < migration.VERSION:
            migration.migrate(connection, self.path, self._work / "ledger.jsonl")
        elif version > migration.VERSION:
            raise self._error(
                f"a newer release wrote it (its version is {version}, and release {own_release()},"
                f" which is installed here, knows {migration.VERSION})",
                "install that release again: an older copy does not know what has left since",
            )
        elif version != migration.VERSION:
            raise self._error("the file is not the memory of a site, or of another release")
        self._connection, self._opened = connection, self._identity() or self._opened
        return connection

    def _identity(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return os.getpid(), found.st_dev, found.st_ino

    def _create(self) -> None:
        make_folder(self._work)
        once = not (self._work / migration.BEFORE).exists()
        if once and migration.found(self._work):
            self._take_over()
        elif self._is_lost():
            raise self._error("the site's memory is missing, though its ledger has entries")
        else:
            self._build(migration.Memory())

    def _take_over(self) -> None:
        """Read the files of the last release in, once, and put them away."""
        with alone(self._work / migration.LOCK):
            if not self.path.exists():
                self._build(migration.read(self._work))
            migration.put_away(self._work)

    def _build(self, old: migration.Memory) -> None:
        """Make the file with all that is known already: whole, or not at all."""
        part = self.path.with_name(f".{FILE}.{secrets.token_hex(4)}")
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        self._connection = connection = _open(part)
        try:
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                connection.execute(statement)
            self._write("INSERT INTO ledger VALUES (1, 0, ?, 0, x'')", (FIRST,))
            self._write("INSERT OR IGNORE INTO facts VALUES (?, ?, ?)", *old.facts)
            self.ask(old.questions)
            self.approve(old.approvals)
            for entry in old.entries:
                self.note(entry)
            connection.execute("COMMIT")
            connection.close()
            os.link(part, self.path)
        except FileExistsError:
            pass  # another process was faster
        finally:
            self._connection = None
            connection.close()
            for path in self.path.parent.glob(f"{part.name}*"):
                path.unlink()
        sync_folder(self._work)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            raise self._error(*_FAILURES.get(code, _DAMAGED)) from error
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            what = f"the work folder cannot be used ({error.strerror})"
            known = _FAILURES[sqlite3.SQLITE_FULL if full else sqlite3.SQLITE_CANTOPEN]
            raise self._error(known[0] if full else what, known[1]) from error

    def _error(self, what: str, remedy: str = _RESTORE) -> StudyError:
        return StudyError(what, where=str(self.path), remedy=remedy)


class Draft:
    """Additions of a reply under way to the memory: remembered with its release, or never."""

    def __init__(self, work: Path) -> None:
        self.db = site_db(work)
        self._replies = threading.local()  # each thread works on one reply

    @property
    def _facts(self) -> dict[tuple[Kind, str], str]:
        facts: dict[tuple[Kind, str], str] = vars(self._replies).setdefault("facts", {})
        return facts

    def fix(self, kind: Kind, name: str, value: str) -> bool:
        """Add a fact; return False where another one stands."""
        known = self.fact(kind, name)
        if known is None:
            self._facts[kind, name] = value
        return known in (None, value)

    def fact(self, kind: Kind, name: str) -> str | None:
        """Return a fact of the reply under way or of an earlier one, None where it is not known."""
        return self._facts.get((kind, name)) or self.db.fact(kind, name)

    def spend(self, run: str, spending: Spending) -> None:
        """Add what a private training cost.

        A reply that was lost on its way and is trained again counts twice, as both may be known.
        """
        self._facts["spending", f"{run}/{secrets.token_hex(8)}"] = json.dumps(astuple(spending))

    def spendings(self, run: str) -> tuple[Spending, ...]:
        """Return what the run has cost, this reply included."""
        return (*self.db.spendings(run), *self.own_spendings(run))

    def own_spendings(self, run: str) -> tuple[Spending, ...]:
        """Return what this reply has cost."""
        return tuple(
            Spending(*json.loads(value))
            for (kind, name), value in self._facts.items()
            if kind == "spending" and name.startswith(f"{run}/")
        )

    def remember(self) -> None:
        """Write everything down; part of the transaction that is open.

        Raises
        ------
        RefusedError : a reply of another process fixed another fact meanwhile.
        """
        facts = dict(self._facts)
        self.drop()
        with self.db.transaction():
            for (kind, name), value in facts.items():
                if self.db.fix(kind, name, value) != value:
                    raise RefusedError(
                        f"another reply of this site was first ({kind}), and both must not leave",
                        where=name[:12],
                        remedy="let one run at a time ask this site",
                    )

    def drop(self) -> None:
        """Forget the reply under way."""
        self._facts.clear()


@lru_cache(maxsize=64)
def site_db(work: Path) -> SiteDb:
    """Return the memory of the site whose work folder this is, one object in a process."""
    return SiteDb(work)


def remember_study(work: Path, study: Study) -> None:
    """Keep a study under its digest."""
    text = json.dumps(study.model_dump(mode="json"), sort_keys=True)
    site_db(work).fix("study", study.digest(), text)


def recall_study(work: Path, digest: str) -> Study:
    """Return the study of this digest.

    Raises
    ------
    StudyError : the site was never shown it, or what is stored no longer has that digest.
    """
    text = site_db(work).fact("study", digest)
    if text is None:
        raise StudyError("the site was not enrolled in this study", where="study digest")
    study = _read_study(text)
    if study.digest() != digest:
        raise StudyError("the stored study has another digest", where="study digest")
    return study


@lru_cache(maxsize=16)
def _read_study(text: str) -> Study:
    """Return the study of a text that is kept; it is asked for with every message."""
    return Study.model_validate_json(text)


def question_of(items: Sequence[Item]) -> str:
    """Return the SHA-256 (hex) of all that one exchange asks for, numbers included."""
    asked = sorted(f"{item.subset}/{item.request}" for item in items)
    return hashlib.sha256("\n".join(asked).encode()).hexdigest()


def table_kind(item: Item) -> str:
    """Return the kind of question that other tables of the same statistic and subset are."""
    return f"table/{item.statistic}"


def _questions(entry: Entry) -> Iterator[tuple[str, str]]:
    """Kind and digest of the questions that an entry answers, or refuses because of the numbers."""
    if _says_something(entry):
        yield REFUSED, question_of(entry.items) if entry.items else entry.hash
    if entry.decision == "released" and entry.items:
        yield entry.exchange, question_of(entry.items)
        for item in entry.items:
            if item.subset != "train" and not item.participants:
                yield table_kind(item), item.request


def _says_something(entry: Entry) -> bool:
    """Say whether an answer was withheld because of the site's numbers."""
    if not entry.study or entry.exchange == "query.enrol":
        return False
    if entry.decision == "refused":
        return entry.reason not in _LIMITS
    return entry.decision == "stopped" and entry.reason in _STOPS_BY_NUMBERS


def _release(entry: Entry, item: Item) -> tuple[str, ...]:
    names = json.dumps(sorted(item.participants))
    return item.membership, item.subset, entry.study, entry.roster, names


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=PATIENCE_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    # no write-ahead log: beside another copy of the file it would be replayed over that, and what
    # that copy does not know of releases would be forgotten
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("PRAGMA synchronous = EXTRA")
    # keys that are deleted are overwritten
    connection.execute("PRAGMA secure_delete = ON")
    return connection
