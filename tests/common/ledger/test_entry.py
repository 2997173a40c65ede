"""Entries: one way of writing, names only, nothing of what did not leave."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from common.ledger.chain import FIRST, seal
from common.ledger.entry import Entry, Item, Record, canonical, read_line

PRIVATE = Ed25519PrivateKey.generate()
ITEM = Item(
    what="Means: clinical",
    subset="train",
    request="a" * 64,
    shapes={"count": (3,), "sum": (3,)},
    rows=45,
    positives=18,
    membership="b" * 64,
    participants=("a", "b", "c"),
)
RECORD = Record(
    run="r1",
    study="c" * 64,
    exchange="query.sum",
    exchange_id="7",
    roster="d" * 64,
    items=(ITEM,),
    payload="e" * 64,
    size=99,
    decision="released",
)


def sealed(record: Record) -> Entry:
    time = "2024-01-01T00:00:00.000+00:00"
    return seal(record, number=1, time=time, previous=FIRST, private=PRIVATE)


@pytest.mark.parametrize("field", ["time", "previous", "hash", "signature", "run", "exchange_id"])
def test_a_line_with_a_text_that_does_not_print_is_no_entry(field: str) -> None:
    """Ledgers are shown to the coordinator, who did not write them."""
    fields = json.loads(sealed(RECORD).line())
    fields[field] = f"{fields[field]}\x1b[8m"
    with pytest.raises(ValueError, match="not an entry"):
        read_line(canonical(fields) + b"\n")


@given(
    run=st.text(alphabet=[chr(i) for i in range(32, 127)], max_size=20),
    size=st.integers(0, 2**60),
    epsilon=st.none() | st.floats(0, 10),
    shape=st.lists(st.integers(0, 10**6), max_size=3).map(tuple),
)
def test_an_entry_comes_back_from_its_line(
    run: str, size: int, epsilon: float | None, shape: tuple[int, ...]
) -> None:
    item = dataclasses.replace(ITEM, shapes={"part": shape})
    entry = sealed(dataclasses.replace(RECORD, run=run, size=size, epsilon=epsilon, items=(item,)))
    assert read_line(entry.line()) == entry
    assert entry.content_hash() == entry.hash


@pytest.mark.parametrize("decision", ["refused", "stopped"])
def test_of_what_did_not_leave_no_count_and_no_digest_is_written(decision: Any) -> None:
    record = dataclasses.replace(RECORD, decision=decision, reason="rows")
    entry = sealed(record)
    assert (entry.items[0].rows, entry.items[0].positives, entry.payload) == (None, None, "")
    assert entry.items[0].request == ITEM.request


def test_who_left_stands_in_the_line_of_what_was_released_only() -> None:
    item = dataclasses.replace(ITEM, left=("d",))
    entry = sealed(dataclasses.replace(RECORD, items=(item,)))
    assert read_line(entry.line()).items[0].left == ("d",)
    forged = entry.line().replace(b'"left":["d"],', b"")
    assert read_line(forged).content_hash() != entry.hash
    refused = sealed(dataclasses.replace(RECORD, items=(item,), decision="refused", reason="rows"))
    assert refused.items[0].left == ()


def test_a_line_about_nobody_who_left_is_written_as_before_anybody_could() -> None:
    line = sealed(RECORD).line()
    assert b'"left"' not in line
    with pytest.raises(ValueError, match="not written"):
        read_line(line.replace(b'"membership"', b'"left":[],"membership"'))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: line.replace(b'"number":1', b'"number": 1'),
        lambda line: line.replace(b'{"decision"', b'{"note":"x","decision"', 1),
        lambda line: line.replace(b'"number":1', b'"number":1,"number":1'),
        lambda line: line.replace(b'"released"', b'"allowed"'),
        lambda line: line.replace(b'"number":1', b'"number":"1"'),
        lambda line: line[:-1],
        lambda line: b"[" * 100_000 + b"\n",
        lambda line: b"\xff\n",
    ],
    ids=["space", "extra", "twice", "decision", "type", "torn", "deep", "bytes"],
)
def test_a_line_written_in_any_other_way_is_not_an_entry(spoil: Any) -> None:
    with pytest.raises(ValueError, match=r"not an entry|not written"):
        read_line(spoil(sealed(RECORD).line()))


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": "Mrs Smith has no label"},
        {"reason": "/data/site/cohort.csv"},
        {"payload": "patient-17"},
        {"study": "A" * 64},
        {"run": "two\nlines"},
        {"run": "\x1b[31mred"},
        {"exchange_id": "x" * 1001},
    ],
)
def test_a_text_that_could_carry_something_else_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a text that a ledger may hold") as caught:
        dataclasses.replace(RECORD, **changes)
    assert next(iter(changes.values())) not in str(caught.value)


def test_a_statistic_is_its_names_and_subset_whatever_its_numbers() -> None:
    other = dataclasses.replace(ITEM, request="f" * 64, shapes={}, rows=1)
    assert other.statistic == ITEM.statistic
    assert dataclasses.replace(ITEM, subset="internal").statistic != ITEM.statistic


def test_a_line_is_json_with_documented_fields() -> None:
    written = json.loads(sealed(RECORD).line())
    assert written["items"][0]["what"] == "Means: clinical"
    assert set(written) == {field.name for field in dataclasses.fields(Entry)}
