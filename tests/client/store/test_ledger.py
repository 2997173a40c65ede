"""The ledger: whatever is done to it shows, and it survives crashes and company."""

from __future__ import annotations

import dataclasses
import multiprocessing
import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.store.cohorts import Memberships
from client.store.ledger import Ledger, ledger_path
from client.store.site_db import FILE, REFUSED, site_db, table_kind
from common.errors import StudyError
from common.ledger.chain import head_path, read_head, seal
from common.ledger.entry import Item, Record, describe_item, request_digest
from common.ledger.verify import read_entries, verify
from common.statistics.moments import Means
from common.transforms.views import table
from tests.builders import record

PRIVATE = Ed25519PrivateKey.generate()
PUBLIC = PRIVATE.public_key()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path / "work", PRIVATE)
    for number in range(5):
        made.append(record(number))
    return made


def rewrite(ledger: Ledger, change: Callable[[list[bytes]], list[bytes]]) -> None:
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(b"".join(change(lines)))


def found(ledger: Ledger) -> list[tuple[int, str]]:
    return [(finding.line, finding.kind) for finding in verify(ledger.path, PUBLIC)]


def test_an_untouched_ledger_is_intact(ledger: Ledger) -> None:
    assert verify(ledger.path, PUBLIC) == []
    assert [entry.number for entry in ledger.entries()] == [1, 2, 3, 4, 5]
    assert ledger.entries()[2].exchange_id == "2"


def test_a_new_ledger_is_intact_and_cannot_lose_its_head(tmp_path: Path) -> None:
    made = Ledger(tmp_path, PRIVATE)
    made.catch_up()
    assert verify(made.path, PUBLIC) == []
    made.append(record(0))
    head_path(made.path).unlink()
    with pytest.raises(StudyError, match="head is missing"):
        Ledger(tmp_path, PRIVATE).catch_up()


@pytest.mark.parametrize("field", [b'"rows":45', b'"released"', b'"size":4321', b'"c"', b"Means"])
def test_an_edit_is_found_on_its_line(ledger: Ledger, field: bytes) -> None:
    changed = {b'"released"': b'"refused"', b'"c"': b'"x"', b"Means": b"means"}
    new = changed.get(field, field[:-1] + b"9")
    rewrite(ledger, lambda lines: [*lines[:2], lines[2].replace(field, new), *lines[3:]])
    assert found(ledger) == [(3, "edited")]


def test_an_edit_with_a_new_hash_is_found_by_its_signature(ledger: Ledger) -> None:
    def forge(lines: list[bytes]) -> list[bytes]:
        entry = dataclasses.replace(ledger.entries()[2], size=1)
        return [
            *lines[:2],
            dataclasses.replace(entry, hash=entry.content_hash()).line(),
            *lines[3:],
        ]

    rewrite(ledger, forge)
    assert found(ledger) == [(3, "other key")]


@pytest.mark.parametrize(("gone", "where"), [(0, 1), (1, 2), (3, 4)])
def test_a_removed_line_is_found_where_it_stood(ledger: Ledger, gone: int, where: int) -> None:
    rewrite(ledger, lambda lines: lines[:gone] + lines[gone + 1 :])
    assert found(ledger) == [(where, "removed")]
    assert f"entry {gone + 1}" in str(verify(ledger.path, PUBLIC)[0])


def test_reordered_lines_are_found(ledger: Ledger) -> None:
    rewrite(ledger, lambda lines: [lines[0], lines[2], lines[1], *lines[3:]])
    kinds = dict(found(ledger))
    assert kinds[2] == kinds[3] == "reordered"
    assert set(kinds.values()) == {"reordered"}


def test_a_repeated_line_is_found(ledger: Ledger) -> None:
    rewrite(ledger, lambda lines: [*lines[:3], lines[2], *lines[3:]])
    assert (4, "reordered") in found(ledger)


@pytest.mark.parametrize("left", [0, 1, 4])
def test_a_cut_tail_is_found_and_nothing_more_is_written(ledger: Ledger, left: int) -> None:
    rewrite(ledger, lambda lines: lines[:left])
    assert found(ledger) == [(0, "tail cut")]
    with pytest.raises(StudyError, match="end was cut off"):
        ledger.append(record(9))


def test_a_deleted_ledger_is_not_begun_anew(ledger: Ledger) -> None:
    ledger.path.unlink()
    with pytest.raises(StudyError, match="end was cut off"):
        Ledger(ledger.path.parent, PRIVATE).append(record(9))


def test_an_empty_ledger_that_was_deleted_is_simply_begun(tmp_path: Path) -> None:
    made = Ledger(tmp_path, PRIVATE)
    made.catch_up()
    made.path.unlink()
    assert Ledger(tmp_path, PRIVATE).append(record(0)).number == 1
    assert verify(made.path, PUBLIC) == []


def test_a_missing_head_is_found(ledger: Ledger) -> None:
    head_path(ledger.path).unlink()
    assert found(ledger) == [(0, "head")]


def test_an_older_head_is_found(ledger: Ledger, tmp_path: Path) -> None:
    old = head_path(ledger.path).read_bytes()
    for number in range(2):
        ledger.append(record(number))
    head_path(ledger.path).write_bytes(old)
    assert found(ledger) == [(0, "head")]


def test_a_cut_tail_with_a_head_edited_to_match_is_found(ledger: Ledger) -> None:
    rewrite(ledger, lambda lines: lines[:3])
    head = read_head(head_path(ledger.path))
    assert head is not None
    last = ledger.entries()[-1]
    forged = dataclasses.replace(head, count=3, hash=last.hash, size=ledger.path.stat().st_size)
    head_path(ledger.path).write_bytes(forged.text())
    assert found(ledger) == [(0, "other key")]
    with pytest.raises(StudyError, match="not signed by this site's key"):
        ledger.append(record(9))


def test_a_ledger_written_anew_under_another_key_is_found(tmp_path: Path) -> None:
    other = Ledger(tmp_path, Ed25519PrivateKey.generate())
    for number in range(3):
        other.append(record(number))
    assert {kind for _, kind in found(other)} == {"other key"}
    with pytest.raises(StudyError, match="not signed by this site's key"):
        Ledger(tmp_path, PRIVATE).catch_up()


def test_one_line_signed_with_another_key_is_found(ledger: Ledger) -> None:
    def swap(lines: list[bytes]) -> list[bytes]:
        old = ledger.entries()[2]
        new = seal(
            record(77),
            number=3,
            time=old.time,
            previous=old.previous,
            private=Ed25519PrivateKey.generate(),
        )
        return [*lines[:2], new.line(), *lines[3:]]

    rewrite(ledger, swap)
    assert found(ledger) == [(3, "other key")]


def test_an_entry_replaced_by_another_of_the_same_key_is_found(ledger: Ledger) -> None:
    def replace(lines: list[bytes]) -> list[bytes]:
        old = ledger.entries()[2]
        new = seal(record(77), number=3, time=old.time, previous=old.previous, private=PRIVATE)
        return [*lines[:2], new.line(), *lines[3:]]

    rewrite(ledger, replace)
    assert found(ledger) == [(4, "edited")]


def test_an_unreadable_line_is_found_once(ledger: Ledger) -> None:
    rewrite(ledger, lambda lines: [*lines[:2], b"what is this\n", *lines[3:]])
    assert found(ledger) == [(3, "unreadable")]
    with pytest.raises(StudyError, match=r"ledger\.jsonl line 3: not an entry"):
        ledger.entries()


@pytest.mark.parametrize("left", [0, 1, 60, -1])
def test_a_line_that_a_crash_tore_is_finished_before_anything_else(
    ledger: Ledger, left: int
) -> None:
    """The line is in site.db; the file has none or some of it, and the head does not count it."""
    old = head_path(ledger.path).read_bytes()
    ledger.append(record(5))
    whole = ledger.path.read_bytes()
    line = whole.splitlines(keepends=True)[-1]
    ledger.path.write_bytes(whole[: -len(line)] + line[:left])
    head_path(ledger.path).write_bytes(old)
    Ledger(ledger.path.parent, PRIVATE).catch_up()
    assert ledger.path.read_bytes() == whole
    assert verify(ledger.path, PUBLIC) == []
    assert ledger.append(record(6)).number == 7
    assert verify(ledger.path, PUBLIC) == []


def test_a_crash_between_line_and_head_loses_nothing(ledger: Ledger) -> None:
    old = head_path(ledger.path).read_bytes()
    ledger.append(record(5))
    head_path(ledger.path).write_bytes(old)
    assert verify(ledger.path, PUBLIC) == []
    ledger.append(record(6))
    assert [entry.number for entry in ledger.entries()] == [1, 2, 3, 4, 5, 6, 7]
    assert verify(ledger.path, PUBLIC) == []


@pytest.mark.parametrize("extra", ["the last line once more", "a genuine next line", "a torn one"])
def test_a_ledger_that_goes_on_where_the_memory_does_not_is_refused(
    ledger: Ledger, extra: str
) -> None:
    """So it would look if an older site.db were put back: it has forgotten a release."""
    last = ledger.entries()[-1]
    entry = seal(record(6), number=6, time="t", previous=last.hash, private=PRIVATE)
    lines = {"the last line once more": last.line(), "a genuine next line": entry.line()}
    with ledger.path.open("ab") as file:
        file.write(lines.get(extra, entry.line()[:60]))
    with pytest.raises(StudyError, match=r"goes on after the last entry that site\.db knows"):
        ledger.append(record(6))


def test_an_older_memory_is_not_put_back_unnoticed(tmp_path: Path) -> None:
    work, kept = tmp_path / "work", tmp_path / "kept"
    Ledger(work, PRIVATE).append(record(0))
    kept.mkdir()
    with sqlite3.connect(kept / FILE) as copy:
        sqlite3.connect(work / FILE).backup(copy)
    Ledger(work, PRIVATE).append(record(1))
    site_db.cache_clear()
    for path in work.glob(f"{FILE}*"):
        path.unlink()
    shutil.copy(kept / FILE, work / FILE)
    (work / FILE).chmod(0o600)
    with pytest.raises(StudyError, match=r"site\.db is older than the ledger"):
        Ledger(work, PRIVATE).append(record(2))


def test_an_end_that_was_changed_is_not_continued(ledger: Ledger) -> None:
    written = ledger.path.read_bytes()
    ledger.path.write_bytes(written[:-60] + b"9" * 60)
    with pytest.raises(StudyError, match="its end was changed"):
        ledger.append(record(6))


def append_many(path: Path, key: bytes, start: int, count: int) -> None:
    private = Ed25519PrivateKey.from_private_bytes(key)
    for number in range(start, start + count):
        Ledger(path, private).append(record(number))


def test_several_processes_write_one_chain(tmp_path: Path) -> None:
    key = PRIVATE.private_bytes_raw()
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=append_many, args=(tmp_path, key, 100 * i, 25)) for i in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    path = ledger_path(tmp_path)
    entries = read_entries(path)
    assert [entry.number for entry in entries] == list(range(1, 101))
    assert len({entry.exchange_id for entry in entries}) == 100
    assert verify(path, PUBLIC) == []


def test_looking_and_adding_can_be_one_step(ledger: Ledger) -> None:
    db = site_db(ledger.path.parent)
    with db.transaction():
        assert len(db.questions("c" * 64, "query.sum")) == 1
        ledger.add(record(5, subset="internal"))
    assert Ledger(ledger.path.parent, PRIVATE).append(record(6)).number == 7
    assert len(db.questions("c" * 64, "query.sum")) == 2


def test_an_entry_of_a_transaction_that_fails_was_never_there(ledger: Ledger) -> None:
    db = site_db(ledger.path.parent)
    before, about = db.memberships(), record(5).items[0]
    item = dataclasses.replace(about, membership="9" * 64)
    with pytest.raises(KeyError), db.transaction():
        ledger.add(dataclasses.replace(record(5), items=(item,)))
        raise KeyError
    assert db.memberships() == before
    assert ledger.append(record(6)).number == 6
    assert verify(ledger.path, PUBLIC) == []


def test_what_was_released_is_known_by_patients_and_study(ledger: Ledger) -> None:
    db = site_db(ledger.path.parent)
    alone = dataclasses.replace(record(0, subset="t").items[0], participants=(), request="e" * 64)
    ledger.append(dataclasses.replace(record(8), decision="refused", reason="rows"))
    ledger.append(dataclasses.replace(record(9), study="f" * 64))
    ledger.append(dataclasses.replace(record(10), items=(alone,)))
    assert db.memberships() == ("b" * 64,)
    among = ("a", "b", "c")
    assert [one.study for one in db.companions("b" * 64)] == ["c" * 64, "f" * 64]
    assert {one.participants for one in db.companions("b" * 64)} == {among}
    assert db.questions("c" * 64, table_kind(alone)) == {"e" * 64}
    assert len(db.questions("c" * 64, REFUSED)) == 1
    assert db.questions("f" * 64, REFUSED) == frozenset()


@pytest.mark.parametrize(
    ("decision", "reason", "exchange", "says"),
    [
        ("refused", "rows", "query.sum", True),
        ("refused", "refusals", "query.sum", False),
        ("refused", "releases", "query.sum", False),
        ("refused", "rows", "query.enrol", False),
        ("stopped", "too_few", "query.sum", True),
        ("stopped", "problem", "query.sum", True),
        ("stopped", "fault", "query.sum", False),
        ("stopped", "not_a_request", "query.sum", False),
        ("released", "", "query.sum", False),
    ],
)
def test_what_was_withheld_because_of_the_numbers_counts_as_refused(
    ledger: Ledger, decision: Any, reason: str, exchange: str, says: bool
) -> None:
    asked = dataclasses.replace(
        record(8), decision=decision, reason=reason, exchange=exchange, study="e" * 64
    )
    ledger.append(asked)
    refused = site_db(ledger.path.parent).questions("e" * 64, REFUSED)
    assert bool(refused) is says


def test_no_patient_and_no_path_gets_into_any_file(tmp_path: Path) -> None:
    work = tmp_path / "PLANTED-folder"
    ledger, memberships = Ledger(work, PRIVATE), Memberships(work)
    membership = memberships.of(f"PLANTED-{i}" for i in range(20))
    view = table("clinical")
    item = Item(
        what=describe_item(Means(), view),
        subset="train",
        request=request_digest(Means(), view, "train"),
        shapes={"sum": (3,)},
        rows=20,
        positives=8,
        membership=memberships.keep(membership),
    )
    for decision in ("released", "refused", "stopped"):
        ledger.append(Record(exchange="query.sum", decision=decision, reason="rows", items=(item,)))
    files = [path for path in work.rglob("*") if path.is_file()]
    assert {"ledger.jsonl", "ledger.head.json", FILE} <= {path.name for path in files}
    for path in files:
        assert b"PLANTED" not in path.read_bytes()
        assert str(tmp_path).encode() not in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_ten_thousand_entries_are_checked_line_by_line(tmp_path: Path) -> None:
    made, db, lines, previous = Ledger(tmp_path, PRIVATE), site_db(tmp_path), [], "0" * 64
    made.catch_up()
    with db.transaction():
        for number in range(1, 10_001):
            entry = seal(
                record(number), number=number, time="t", previous=previous, private=PRIVATE
            )
            db.note(entry)
            previous = entry.hash
            lines.append(entry.line())
    made.path.write_bytes(b"".join(lines))
    made.catch_up()
    assert verify(made.path, PUBLIC) == []
    assert made.append(record(1)).number == 10_001
    del lines[6_999]
    made.path.write_bytes(b"".join(lines))
    assert (7_000, "removed") in [(f.line, f.kind) for f in verify(made.path, PUBLIC)]
