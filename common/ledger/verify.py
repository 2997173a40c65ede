"""Verify a ledger: entries edited, removed, reordered, cut off or signed by somebody else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from common.errors import InputError
from common.ledger.chain import FIRST, Head, entry_is_by, head_path, read_head
from common.ledger.entry import Entry, read_line
from common.masking import identity
from common.utils.bounded import MIB

Kind = Literal["edited", "removed", "reordered", "tail cut", "other key", "unreadable", "head"]

LONGEST_LINE = 4 * MIB
"""Bytes of one entry; a longer line is read, and refused, in pieces."""


@dataclass(frozen=True)
class Finding:
    """Defect of a ledger; `line` counts from 1, 0 is the file or its head as a whole."""

    line: int
    kind: Kind
    words: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.words}" if self.line else self.words


def read_entries(path: Path) -> tuple[Entry, ...]:
    """Read all entries of a ledger, skipping an unfinished last line, the trace of a crash.

    Raises
    ------
    InputError : no such file, or a line that is not an entry.
    """
    entries = []
    for number, line in _lines(path):
        if not line.endswith(b"\n"):
            break
        try:
            entries.append(read_line(line))
        except ValueError as error:
            remedy = "run fedlnm-site ledger verify on it"
            raise InputError(str(error), where=f"{path} line {number}", remedy=remedy) from None
    return tuple(entries)


def verify(path: Path, public_key: Ed25519PublicKey) -> list[Finding]:
    """Return all defects of a ledger and its head; empty when both are intact.

    Raises
    ------
    InputError : no such file.
    """
    before = _read_head(path, public_key)
    read, findings = _read(path)
    entries = {number: entry for number, entry in read.items() if entry is not None}
    findings += _contents(entries, public_key)
    findings += _order(read, doubted={f.line for f in findings})
    after = _read_head(path, public_key)
    if isinstance(before, Head) and isinstance(after, Head):
        findings += _end(before, after, read)
    else:
        findings += [finding for finding in (before, after) if isinstance(finding, Finding)][:1]
    return sorted(findings, key=lambda f: (f.line == 0, f.line))


def readable_entries(path: Path) -> tuple[Entry, ...]:
    """Return the readable entries; `verify` reports the others. InputError: no such file."""
    return tuple(entry for entry in _read(path)[0].values() if entry is not None)


def named_key(path: Path) -> Ed25519PublicKey:
    """Return the key that a ledger's own head names, which nobody has confirmed to be the site's.

    Raises
    ------
    InputError : no such ledger, or its head is missing or unreadable.
    """
    _check_there(path)
    try:
        head = read_head(head_path(path))
    except ValueError:
        head = None
    if head is None:
        remedy = "give the site's public key, and look where its head went"
        raise InputError("no readable head", where=str(head_path(path)), remedy=remedy)
    return identity.public_key(head.key)


def _read(path: Path) -> tuple[dict[int, Entry | None], list[Finding]]:
    """Return entries by line, None for those that cannot be read."""
    read: dict[int, Entry | None] = {}
    findings = []
    for number, line in _lines(path):
        try:
            read[number] = read_line(line)
        except ValueError as error:
            read[number] = None
            torn = "unfinished, as after a crash; the site's next entry puts it right"
            words = str(error) if line.endswith(b"\n") else torn
            findings.append(Finding(number, "unreadable", words))
    return read, findings


def _lines(path: Path) -> Iterable[tuple[int, bytes]]:
    _check_there(path)
    with path.open("rb") as file:
        yield from enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), start=1)


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise InputError("no such ledger", where=str(path), remedy="give a ledger.jsonl")


def _contents(entries: dict[int, Entry], public_key: Ed25519PublicKey) -> list[Finding]:
    """Check each line by itself: its hash and its signature."""
    findings = []
    strangers = []
    for number, entry in entries.items():
        if entry.content_hash() != entry.hash:
            findings.append(Finding(number, "edited", "edited: it does not have the hash it names"))
        elif not entry_is_by(public_key, entry):
            strangers.append(number)
    if strangers and len(strangers) + len(findings) == len(entries):
        words = "no entry is signed by this key: another site's ledger, or written anew"
        return [*findings, Finding(0, "other key", words)]
    words = "not signed by this key: written anew by somebody else"
    return findings + [Finding(number, "other key", words) for number in strangers]


def _order(read: dict[int, Entry | None], doubted: set[int]) -> list[Finding]:
    """Check each line against the one before; a doubtful line is blamed only once."""
    present = {entry.number for entry in read.values() if entry is not None}
    findings = []
    expected, previous = 1, FIRST
    for line, entry in read.items():
        if entry is None:
            expected, previous = expected + 1, ""
            continue
        if entry.number != expected:
            findings.append(_misplaced(line, entry.number, expected, present))
        elif previous and entry.previous != previous and line - 1 not in doubted:
            words = "it follows another entry than the one that stands before it"
            findings.append(Finding(line, "edited", words))
        expected, previous = entry.number + 1, entry.hash
    return findings


def _misplaced(line: int, number: int, expected: int, present: set[int]) -> Finding:
    missing = [n for n in range(expected, number) if n not in present]
    if not missing:
        words = f"reordered: entry {number} stands where entry {expected} belongs"
        return Finding(line, "reordered", words)
    span = str(missing[0]) if len(missing) == 1 else f"{missing[0]} to {missing[-1]}"
    return Finding(line, "removed", f"removed before it: entry {span}")


def _read_head(path: Path, public_key: Ed25519PublicKey) -> Head | Finding:
    """Return the head, or its defect."""
    name = head_path(path).name
    try:
        head = read_head(head_path(path))
    except ValueError as error:
        return Finding(0, "unreadable", f"{name}: {error}")
    if head is None:
        return Finding(0, "head", f"{name} is missing: whether the end was cut off is unknown")
    if not head.is_by(public_key):
        return Finding(0, "other key", f"{name} is not signed by this key")
    return head


def _end(before: Head, after: Head, read: dict[int, Entry | None]) -> list[Finding]:
    """Check the last lines against the head, as it was before and after they were read.

    Both, as the site may be writing meanwhile. A crash leaves a head one entry behind.
    """
    entries = {e.number: (line, e) for line, e in read.items() if e is not None}
    unreadable = sum(entry is None for entry in read.values())
    last = max(entries, default=0)
    if before.count > last + unreadable:
        words = f"the end was cut off: the head counts {before.count} entries, the last is {last}"
        return [Finding(0, "tail cut", words)]
    if last > after.count + 1:
        words = f"the head counts {after.count} of {last} entries: an older one was put back"
        return [Finding(0, "head", words)]
    line, entry = entries.get(before.count, (0, None))
    if entry is not None and entry.hash != before.hash:
        return [Finding(line, "edited", "not the entry that the head names as the last")]
    return []
