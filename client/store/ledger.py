"""The ledger of a site: every reply is written down here before it leaves.

Files beside each other in the site's work folder: `ledger.jsonl` with an entry a line,
`ledger.head.json` with the signed count, `ledger.lock`, and `ledger.torn` with what a crash left
of a line.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import StudyError
from common.ledger.chain import FIRST, Head, entry_is_by, head_path, read_head, seal
from common.ledger.entry import Entry, Item, Record, read_line
from common.ledger.verify import read_entries
from common.masking.identity import public_text
from common.utils.durable import alone, append_durably, make_folder, sync_folder, write_durably


def ledger_path(work: Path) -> Path:
    """The ledger of a site whose work folder this is."""
    return work / "ledger.jsonl"


@dataclass(frozen=True)
class EarlierRelease:
    """A release of the past, with whom and about which patients (a membership digest)."""

    number: int
    run: str
    study: str
    roster: str
    participants: tuple[str, ...]
    membership: str
    request: str


class Companions(NamedTuple):
    """Sites among whose numbers a sum was hidden; digests of their roster and of the study."""

    participants: tuple[str, ...]
    roster: str
    study: str


REFUSED = "refused"
# rules that look at nothing but the questions before
LIMITS = frozenset({"refusals", "releases"})
# stops of the gate that depend on the numbers of a reply; others on its form or the request alone
_STOPS_BY_NUMBERS = frozenset({"value", "too_few", "not_masked", "problem"})


def question_of(items: Sequence[Item]) -> str:
    """SHA-256 (hex) of all that one exchange asks for, numbers included."""
    asked = sorted(f"{item.subset}/{item.request}" for item in items)
    return hashlib.sha256("\n".join(asked).encode()).hexdigest()


def tells_of_numbers(entry: Entry) -> bool:
    """Whether an entry is about an answer that was not given because of the site's numbers."""
    if not entry.study or entry.exchange == "query.enrol":
        return False
    if entry.decision == "refused":
        return entry.reason not in LIMITS
    return entry.decision == "stopped" and entry.reason in _STOPS_BY_NUMBERS


class Ledger:
    """Append-only record; several processes of one site may hold it open. Make it with `open`.

    One object is for one thread. The chain is not read again on every append: `verify` does that.
    """

    def __init__(self, path: Path, private: Ed25519PrivateKey) -> None:
        self.path, self._private = path, private
        self._public = private.public_key()
        self._held = False
        self._looked = 0
        self._by_statistic: dict[str, list[EarlierRelease]] = {}
        self._by_subset: dict[str, dict[str, set[str]]] = {}
        self._by_membership: dict[str, set[Companions]] = {}
        self._questions: dict[tuple[str, str], set[str]] = {}

    @classmethod
    def open(cls, path: Path, private: Ed25519PrivateKey) -> Ledger:
        """The ledger at `path`, begun if there is none.

        Raises
        ------
        StudyError : its head is missing, or is not this key's.
        """
        ledger = cls(path, private)
        make_folder(path.parent)
        with ledger.exclusive():
            begun = path.is_file() and path.stat().st_size > 0
            if not begun and not head_path(path).exists():
                append_durably(path, b"")
                ledger._write_head(Head(0, FIRST, 0, public_text(ledger._public)))
            ledger._head()
        return ledger

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes from appending, to look and then append as one step."""
        if self._held:
            yield
            return
        with alone(self.path.with_suffix(".lock")):
            self._held = True
            try:
                yield
            finally:
                self._held = False

    def append(self, record: Record) -> Entry:
        """Write an entry; it is on the disk when this returns, and only then may the reply leave.

        An unfinished line of a crashed process is first moved to `ledger.torn`, and an entry
        (`repaired`) says so.

        Raises
        ------
        StudyError : the end of the ledger or its head was tampered with.
        """
        with self.exclusive():
            head, torn = self._settle()
            if torn:
                head = self._repair(head, torn)
            entry, _ = self._write(head, record)
            return entry

    def entries(self) -> tuple[Entry, ...]:
        """All entries, as they stand; `verify` tells whether they can be trusted."""
        return read_entries(self.path)

    def released_before(
        self, statistic: str, study: str | None = None
    ) -> tuple[EarlierRelease, ...]:
        """Releases of a statistic (`Item.statistic`), in one study or, without, in any."""
        self._catch_up()
        earlier = self._by_statistic.get(statistic, ())
        return tuple(release for release in earlier if study in (None, release.study))

    def memberships(self, subset: str, study: str | None = None) -> tuple[str, ...]:
        """Digests of all memberships under which anything of a subset was released.

        The sums of one patient follow from any two statistics that hold each other's numbers, such
        as moments and a Gram matrix; so the rule looks at the subset and not at the statistic.
        """
        self._catch_up()
        known = self._by_subset.get(subset, {})
        return tuple(digest for digest, studies in known.items() if study in (None, *studies))

    def questions(self, study: str, kind: str) -> frozenset[str]:
        """Different questions of a study, by digest (see `question_of`).

        Parameters
        ----------
        kind : an exchange = those it released an answer to; "refused" = those that were refused,
            or failed, and told by that how the numbers are.
        """
        self._catch_up()
        return frozenset(self._questions.get((study, kind), ()))

    def companions(self, membership: str) -> tuple[Companions, ...]:
        """With which sites the same patients were summed before; sums in the clear are left out."""
        self._catch_up()
        return tuple(sorted(self._by_membership.get(membership, ())))

    def _catch_up(self) -> None:
        """Look at the lines written since the last look, by whichever process."""
        size = self.path.stat().st_size if self.path.is_file() else 0
        if size < self._looked:
            self._looked, self._by_statistic, self._by_subset = 0, {}, {}
            self._by_membership, self._questions = {}, {}
        if size == self._looked:
            return
        with self.path.open("rb") as file:
            file.seek(self._looked)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # a crash left it unfinished; the next append moves it away
                self._looked += len(line)
                try:
                    self._note(read_line(line))
                except ValueError as error:
                    raise self._broken(f"a line is {error}") from None

    def _note(self, entry: Entry) -> None:
        if tells_of_numbers(entry):
            asked = question_of(entry.items) if entry.items else entry.hash
            self._questions.setdefault((entry.study, REFUSED), set()).add(asked)
        if entry.decision != "released":
            return
        if entry.items:
            asked = question_of(entry.items)
            self._questions.setdefault((entry.study, entry.exchange), set()).add(asked)
        for item in entry.items:
            release = EarlierRelease(
                entry.number,
                entry.run,
                entry.study,
                entry.roster,
                item.participants,
                item.membership,
                item.request,
            )
            self._by_statistic.setdefault(item.statistic, []).append(release)
            if item.membership:
                digests = self._by_subset.setdefault(item.subset, {})
                digests.setdefault(item.membership, set()).add(entry.study)
            if item.membership and item.participants:
                known = self._by_membership.setdefault(item.membership, set())
                known.add(Companions(tuple(sorted(item.participants)), entry.roster, entry.study))

    # -- the end of the file, always under the lock ------------------------------------------------

    def _head(self) -> Head:
        try:
            head = read_head(head_path(self.path))
        except ValueError as error:
            raise self._broken(f"its head is {error}") from None
        if head is None:
            raise self._broken("its head is missing")
        if not head.is_by(self._public):
            raise self._broken("its head is not signed by this site's key")
        return head

    def _settle(self) -> tuple[Head, bytes]:
        """The head, moved on over lines a crash kept it from counting; and an unfinished line."""
        head = self._head()
        size = self.path.stat().st_size if self.path.is_file() else 0
        if size < head.size:
            raise self._broken("its end was cut off")
        if size == head.size:
            return head, b""
        with self.path.open("rb") as file:
            file.seek(head.size)
            lines = list(file)
        torn = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        for line in lines:
            head = self._follow(head, line)
        return head, torn

    def _follow(self, head: Head, line: bytes) -> Head:
        try:
            entry = read_line(line)
        except ValueError as error:
            raise self._broken(f"a line after its counted end is {error}") from None
        own = entry.content_hash() == entry.hash and entry_is_by(self._public, entry)
        if not own or (entry.number, entry.previous) != (head.count + 1, head.hash):
            raise self._broken("a line after its counted end does not belong there")
        return Head(entry.number, entry.hash, head.size + len(line), head.key)

    def _repair(self, head: Head, torn: bytes) -> Head:
        append_durably(self.path.with_suffix(".torn"), torn + b"\n")
        sync_folder(self.path.parent)
        os.truncate(self.path, head.size)
        digest = hashlib.sha256(torn).hexdigest()
        note = Record(
            exchange="ledger",
            decision="repaired",
            reason="torn_line",
            payload=digest,
            size=len(torn),
        )
        return self._write(head, note)[1]

    def _write(self, head: Head, record: Record) -> tuple[Entry, Head]:
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        entry = seal(
            record,
            number=head.count + 1,
            time=time,
            previous=head.hash,
            private=self._private,
        )
        line = entry.line()
        append_durably(self.path, line)
        return entry, self._write_head(
            Head(entry.number, entry.hash, head.size + len(line), head.key)
        )

    def _write_head(self, head: Head) -> Head:
        signed = head.signed(self._private)
        write_durably(head_path(self.path), signed.text())
        return signed

    def _broken(self, what: str) -> StudyError:
        return StudyError(
            f"the ledger cannot be continued: {what}",
            where=self.path.name,
            remedy="nothing leaves until it is restored from the site's backup; "
            "fedlnm-site ledger verify says what is wrong",
        )
