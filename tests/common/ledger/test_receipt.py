"""Receipts: signed whole, beside a message and not in it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import ConfigRecord

from common.ledger.receipt import Receipt, question_of
from common.messages.codec import decode, digest_of, encode
from common.messages.exchanges import EnrolRequest, Problem, SumRequest
from common.messages.receipts import attach, attach_newest, attached, newest_attached

PRIVATE = Ed25519PrivateKey.generate()
RECEIPT = Receipt(
    site="a", session="s", request="1" * 64, reply="2" * 64, entries=7, ledger="3" * 64
).signed(PRIVATE)


@pytest.mark.parametrize(
    "change",
    [
        {"site": "b"},
        {"session": "t"},
        {"request": "4" * 64},
        {"reply": "4" * 64},
        {"entries": 8},
        {"ledger": "4" * 64},
        {"signature": ""},
        {"signature": "A" * 88},
    ],
)
def test_every_field_is_signed(change: dict[str, Any]) -> None:
    assert RECEIPT.is_by(PRIVATE.public_key())
    assert not dataclasses.replace(RECEIPT, **change).is_by(PRIVATE.public_key())
    assert not RECEIPT.is_by(Ed25519PrivateKey.generate().public_key())


def test_it_travels_beside_a_message_and_changes_nothing_of_it() -> None:
    record = encode(Problem("x", "0" * 8, "a"))
    before = digest_of(record)
    assert attached(record) is None
    assert newest_attached(record) == []
    attach(record, RECEIPT)
    attach_newest(record, [RECEIPT, RECEIPT])
    assert attached(record) == RECEIPT
    assert newest_attached(record) == [RECEIPT, RECEIPT]
    assert digest_of(record) == before
    assert vars(decode(record)) == vars(Problem("x", "0" * 8, "a"))


@pytest.mark.parametrize("text", ["", "{}", "[1]", "null", '{"site": 1}', '{"site": "a"}'])
def test_something_else_in_its_place_is_no_receipt(text: str) -> None:
    record = encode(Problem("x", "0" * 8, "a"))
    record["receipt"] = record["receipts"] = ConfigRecord({"json": text})
    assert newest_attached(record) == []
    with pytest.raises(ValueError, match="not a receipt"):
        attached(record)


def test_a_question_is_its_kind_run_study_session_and_number() -> None:
    asked = {
        question_of(request)
        for request in (
            SumRequest("r", "s", "t", 1, (), ()),
            SumRequest("r", "s", "t", 2, (), ()),
            SumRequest("r", "s", "u", 1, (), ()),
            SumRequest("r", "v", "t", 1, (), ()),
            SumRequest("w", "s", "t", 1, (), ()),
            EnrolRequest("r", "s", "{}", "t"),
            EnrolRequest("r", "s", "{}", "u"),
        )
    }
    assert len(asked) == 7
    assert question_of(SumRequest("r", "s", "t", 1, (), ())) in asked
