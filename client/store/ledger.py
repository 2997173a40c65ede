"""The ledger of a site: a signed line for every reply, written before the reply leaves.

`ledger.jsonl` in the site's work folder has an entry a line, `ledger.head.json` the signed count.
The line is in `site.db` first, in the transaction that remembers the release. What a crash kept
from the file, a whole line or the rest of one, is written before anything else happens.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.store.site_db import LedgerEnd, site_db
from common.errors import StudyError
from common.ledger.chain import Head, head_path, read_head, seal
from common.ledger.entry import Entry, Record
from common.ledger.verify import read_entries
from common.masking.identity import public_text
from common.utils.durable import append_durably, write_durably


def ledger_path(work: Path) -> Path:
    """Return the ledger of a site whose work folder this is."""
    return work / "ledger.jsonl"


class Ledger:
    """Append-only record that several processes of one site may have open.

    The chain is not read again on every append: `verify` does that.
    """

    def __init__(self, work: Path, private: Ed25519PrivateKey) -> None:
        self.path, self._db, self._private = ledger_path(work), site_db(work), private
        self._key = public_text(private.public_key())

    def append(self, record: Record) -> Entry:
        """Add an entry; it is on the disk when this returns, and only then may the reply leave.

        Raises
        ------
        StudyError : the ledger or its head was tampered with, or is not of the same time as
            `site.db`.
        """
        with self._db.transaction():
            entry = self.add(record)
        self.catch_up()
        return entry

    def add(self, record: Record) -> Entry:
        """Remember an entry, in the transaction that is open; `catch_up` then writes its line."""
        end = self._settle()
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        entry = seal(
            record, number=end.number + 1, time=time, previous=end.hash, private=self._private
        )
        self._db.note(entry)
        return entry

    def catch_up(self) -> None:
        """Write the last line and the head where they are not written yet."""
        with self._db.transaction():
            self._settle()

    def entries(self) -> tuple[Entry, ...]:
        """Return all entries, as they stand; `verify` says whether they can be trusted."""
        return read_entries(self.path)

    def _settle(self) -> LedgerEnd:
        """Make file and head agree with `site.db`; no other process is at it meanwhile."""
        end = self._db.ledger_end()
        head = self._head(end)
        missing = end.line[self._written(end) :]
        if missing and head is not None and head.count == end.number:
            raise self._broken("its end was cut off")
        if missing or not self.path.exists():
            append_durably(self.path, missing)
        if head is None or head.count < end.number:
            signed = Head(end.number, end.hash, end.size, self._key).signed(self._private)
            write_durably(head_path(self.path), signed.text())
        return end

    def _head(self, end: LedgerEnd) -> Head | None:
        """Return the head on disk, None where the ledger has not begun."""
        try:
            head = read_head(head_path(self.path))
        except ValueError as error:
            raise self._broken(f"its head is {error}") from None
        if head is None:
            if end.number:
                raise self._broken("its head is missing")
            return None
        if not head.is_by(self._private.public_key()):
            raise self._broken("its head is not signed by this site's key")
        if head.count > end.number:
            raise self._broken("site.db is older than the ledger")
        if head.count == end.number and head.hash != end.hash:
            raise self._broken("its head is of another ledger")
        return head

    def _written(self, end: LedgerEnd) -> int:
        """Return how many bytes are there of the last line."""
        size = self.path.stat().st_size if self.path.is_file() else 0
        start = end.size - len(end.line)
        if size < start:
            raise self._broken("its end was cut off")
        if not size:
            return 0
        with self.path.open("rb") as file:
            file.seek(start)
            written = file.read()
        if not end.line.startswith(written):
            longer = written.startswith(end.line)
            what = "goes on after the last entry that site.db knows" if longer else "was changed"
            raise self._broken(f"its end {what}")
        return len(written)

    def _broken(self, what: str) -> StudyError:
        return StudyError(
            f"the ledger cannot be continued: {what}",
            where=self.path.name,
            remedy="nothing leaves until it is restored from the site's backup, ledger and site.db"
            " together; fedlnm-site ledger verify says what is wrong",
        )
