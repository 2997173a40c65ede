"""The receipts of a run: what is not signed as it should be stops the run, by the site's name."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message

from common.errors import InputError, SiteError
from common.ledger.receipt import Receipt, question_of
from common.masking import identity
from common.messages.codec import digest_of, encode
from common.messages.exchanges import FollowReply, Problem, Refusal, Refused, SumRequest
from common.messages.receipts import attach
from server.federation.receipts import Receipts, read_receipts
from sim.engines.inprocess import SERVER_NODE, task_identity
from sim.sites import simulated_identity

ROSTER = {site: identity.public_text(simulated_identity(site).public_key()) for site in "ab"}
REQUEST = SumRequest("r", "s", "t", 1, (), ())
REPLY = FollowReply("a", "t", 1)


def replied(signer: str = "a", **changes: Any) -> Message:
    """Return a reply with the receipt of a site, with other fields than it should have."""
    with task_identity(SERVER_NODE):
        content = encode(REPLY)
        honest = Receipt(
            site="a",
            session="t",
            request=question_of(REQUEST),
            reply=digest_of(content),
            entries=5,
            ledger="5" * 64,
        )
        given = dataclasses.replace(honest, **changes).signed(simulated_identity(signer))
        attach(content, given)
        return Message(content, 1, "query.sum")


def take(receipts: Receipts, reply: Message) -> None:
    receipts.take("a", "query.sum", REQUEST, reply, REPLY)


def test_the_newest_of_every_site_is_kept_also_for_a_run_that_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    receipts = Receipts(path, ROSTER)
    assert receipts.all_newest() == []
    for entries in (5, 6):
        take(receipts, replied(entries=entries, ledger=str(entries) * 64))
    assert [kept.receipt.entries for kept in read_receipts(path)] == [5, 6]
    again = Receipts(path, ROSTER)
    assert [(one.site, one.entries) for one in again.all_newest()] == [("a", 6)]
    with pytest.raises(SiteError, match="site a: its ledger had 6 entries and now has 5"):
        take(again, replied())


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (replied("b"), "not signed with its identity key"),
        (replied(site="b"), "not signed with its identity key"),
        (replied(request="0" * 64), "another reply, or a reply to another question"),
        (replied(reply="0" * 64), "another reply, or a reply to another question"),
    ],
)
def test_a_receipt_of_something_else_stops_the_run(reply: Message, words: str) -> None:
    with pytest.raises(SiteError, match=f"site a: .*{words}"):
        take(Receipts(None, ROSTER), reply)


def without_receipt(answer: Any) -> Message:
    with task_identity(SERVER_NODE):
        return Message(encode(answer), 1, "query.sum")


def test_an_answer_or_a_refusal_without_a_receipt_stops_the_run() -> None:
    for answer in (REPLY, Refused((Refusal("rows", 10.0, "train"),), "a")):
        receipts = Receipts(None, ROSTER)
        with pytest.raises(SiteError, match=r"site a: its reply came without the receipt"):
            receipts.take("a", "query.sum", REQUEST, without_receipt(answer), answer)
        assert receipts.all_newest() == []


def test_a_problem_may_come_without_a_receipt_as_its_site_may_be_unable_to_sign() -> None:
    receipts, problem = Receipts(None, ROSTER), Problem("files", "0" * 8, "a")
    receipts.take("a", "query.sum", REQUEST, without_receipt(problem), problem)
    assert receipts.all_newest() == []


def test_a_ledger_of_the_same_length_with_another_end_was_put_back() -> None:
    receipts = Receipts(None, ROSTER)
    take(receipts, replied())
    take(receipts, replied())
    with pytest.raises(SiteError, match="or others: it was put back to an older copy"):
        take(receipts, replied(ledger="6" * 64))


def test_a_study_without_identity_keys_has_no_receipts() -> None:
    receipts = Receipts(None, dict.fromkeys(ROSTER, ""))
    take(receipts, replied("b"))
    assert receipts.all_newest() == []


def test_a_line_that_a_crash_cut_off_is_passed_over_and_a_changed_one_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "replies.jsonl"
    take(Receipts(path, ROSTER), replied())
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    assert len(read_receipts(path)) == 1
    path.write_bytes(whole + b"{}\n")
    with pytest.raises(InputError, match="line 2"):
        read_receipts(path)
