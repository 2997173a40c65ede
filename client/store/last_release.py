"""The files in which the last release kept a site's memory, to be read once into `site.db`.

One file or folder a kind, each with its own line format. Lines that a crash tore count for nothing:
what they stood for never left. Anything else that cannot be read stops the site.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.store.privacy_budget import Spending
from common.errors import StudyError
from common.ledger.chain import head_path, read_head
from common.ledger.entry import Entry
from common.ledger.verify import named_key, read_entries, verify
from common.utils.durable import append_durably, make_folder

BEFORE = "before-site.db"
_NAMES = (
    "approvals.json",
    "fixed-levels.txt",
    "gradients",
    "membership.key",
    "memberships",
    "rosters",
    "studies",
    "ledger.lock",  # the last to go: where it is, nothing was put away, or not all
)
_MOVED = (
    "runs/*/ephemeral.json",
    "runs/*/masks-used.txt",
    "runs/*/privacy-budget.jsonl",
    "runs/*/cohort-*.sha256",
    "ledger.torn",
    *_NAMES[:-1],
)
_LOCKS = ("runs/*/*.lock", "fixed-levels.lock", "ledger.lock")
_PAIR = re.compile(rb"([0-9a-f]{64}) ([0-9a-f]{64})\n")
_KEPT = re.compile(r"owed-([0-9a-f]{64})\.safetensors")


@dataclass(frozen=True)
class Memory:
    """Rows for `site.db`; of a site that has no memory yet, none."""

    facts: Sequence[tuple[str, str, str]] = ()
    questions: Sequence[tuple[str, str, str]] = ()
    spendings: Sequence[tuple[str, Spending]] = ()
    approvals: Sequence[Sequence[str]] = ()
    replies: Sequence[tuple[str, str]] = ()
    entries: Sequence[Entry] = ()


def found(work: Path) -> bool:
    """Say whether any file of the last release lies where it left it."""
    return any((work / name).exists() for name in _NAMES)


def can_be_read(work: Path) -> bool:
    """Say whether there is something to read that was not read before."""
    return found(work) and not (work / BEFORE).exists()


def lock_of(work: Path) -> Path:
    """Return the lock that keeps a process of the last release from writing its ledger."""
    return work / "ledger.lock"


def read(work: Path) -> Memory:
    """Read the whole memory of a site.

    Raises
    ------
    StudyError : a file is damaged, or patients of a release are not there.
    """
    entries = _entries(work)
    facts = [*_facts(work)]
    kept = {name for kind, name, _ in facts if kind == "membership"}
    released = [item for e in entries if e.decision == "released" for item in e.items]
    for digest in {item.membership for item in released if item.membership} - kept:
        raise _damaged(work / "memberships" / f"{digest}.txt")
    return Memory(
        facts,
        [
            (path.parent.name, f"gradient/{table}", question)
            for path in sorted(work.glob("gradients/*/gradient-rounds.txt"))
            for table, question in _pairs(path)
        ],
        [*_spendings(work)],
        _approvals(work / "approvals.json"),
        [
            (path.parent.name, match[1])
            for path in sorted(work.glob("runs/*/owed-*.safetensors"), key=_written)
            if (match := _KEPT.fullmatch(path.name))
        ],
        entries,
    )


def put_away(work: Path) -> None:
    """Move what was read into a folder of its own; who finds it there does not read it again."""
    make_folder(work / BEFORE)
    for path in work.glob("runs/*/owed-*.safetensors"):
        path.rename(path.with_name(path.name.replace("owed-", "reply-", 1)))
    for path in _all(work, _MOVED):
        target = work / BEFORE / path.relative_to(work)
        make_folder(target.parent)
        if not target.exists():
            path.rename(target)
    for path in _all(work, _LOCKS):
        path.unlink()


def _all(work: Path, patterns: Sequence[str]) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(work.glob(pattern))


def _written(path: Path) -> float:
    return path.stat().st_mtime


def _facts(work: Path) -> Iterator[tuple[str, str, str]]:
    """Kind, name and value; the first of a name is the one that holds."""
    for path in sorted(work.glob("studies/*.json")):
        yield "study", path.stem, path.read_text(encoding="utf-8")
    for path in sorted(work.glob("rosters/*.json")):
        roster = _parsed(path, path.read_bytes(), dict)
        yield "roster", path.stem, json.dumps(roster, sort_keys=True)
    for path in sorted(work.glob("memberships/*.txt")):
        members = "\n".join(sorted(path.read_text(encoding="ascii", errors="replace").split()))
        if hashlib.sha256(members.encode()).hexdigest() != path.stem:
            raise _damaged(path)
        yield "membership", path.stem, members
    if (path := work / "membership.key").is_file():
        key = path.read_text(encoding="ascii", errors="replace").strip()
        if not re.fullmatch("[0-9a-f]{64}", key):
            raise _damaged(path)
        yield "membership key", "", key
    for path in sorted(work.glob("runs/*/ephemeral.json")):
        key = json.dumps(_parsed(path, path.read_bytes(), dict))
        yield "run key", path.parent.name, key
    for path in sorted(work.glob("runs/*/cohort-*.sha256")):
        name = f"{path.parent.name}/{path.stem.removeprefix('cohort-')}"
        yield "cohort", name, path.read_text(encoding="ascii")
    for path in sorted(work.glob("runs/*/masks-used.txt")):
        for use, content in _pairs(path):
            yield "mask", use, content
    for patients, levels in _pairs(work / "fixed-levels.txt"):
        yield "levels", patients, levels


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    if path.is_file():
        for line in path.read_bytes().splitlines(keepends=True):
            if match := _PAIR.fullmatch(line):
                yield match[1].decode(), match[2].decode()


def _spendings(work: Path) -> Iterator[tuple[str, Spending]]:
    for path in sorted(work.glob("runs/*/privacy-budget.jsonl")):
        *lines, _torn = path.read_bytes().split(b"\n")
        for line in lines:
            yield path.parent.name, _parsed(path, line, lambda read: Spending(**read))


def _approvals(path: Path) -> list[tuple[str, ...]]:
    if not path.is_file():
        return []
    names = ("kind", "digest", "name", "date", "signature")
    return _parsed(path, path.read_bytes(), lambda read: [tuple(a[n] for n in names) for a in read])


def _entries(work: Path) -> tuple[Entry, ...]:
    """All entries of a ledger that is intact; a torn last line is cut off and kept apart."""
    path = work / "ledger.jsonl"
    written = path.read_bytes() if path.is_file() else b""
    if not written and _nothing_counted(path):
        return ()
    torn = written[written.rfind(b"\n") + 1 :]
    if torn:
        append_durably(path.with_suffix(".torn"), torn + b"\n")
        os.truncate(path, len(written) - len(torn))
    findings = verify(path, named_key(path))
    if findings:
        raise StudyError(
            f"the ledger of the last release is not intact: {findings[0]}",
            where=path.name,
            remedy="restore the site's work folder from its backup",
        )
    return read_entries(path)


def _nothing_counted(ledger: Path) -> bool:
    try:
        head = read_head(head_path(ledger))
    except ValueError:
        return False
    return head is None or not head.count


def _parsed(path: Path, text: bytes, make: Callable[[Any], Any]) -> Any:
    try:
        return make(json.loads(text))
    except (ValueError, TypeError, KeyError):
        raise _damaged(path) from None


def _damaged(path: Path) -> StudyError:
    return StudyError(
        "what the last release remembered is lost or damaged",
        where=f"{path.parent.name}/{path.name}",
        remedy="restore the site's work folder from its backup, then start the site again",
    )
