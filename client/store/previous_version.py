"""The files in which the last release kept a site's memory, to be read once into `site.db`.

Lines that a crash tore count for nothing: what they stood for never left. Anything else that cannot
be read stops the site.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
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
