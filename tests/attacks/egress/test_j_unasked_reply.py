"""Attack (j): an app sends what nobody asked for, or answers twice."""

from __future__ import annotations

from dataclasses import replace
from threading import Timer
from typing import Any

import pytest
from flwr.app import Context, Message

from client.app import app
from client.gate import supernode
from common.flower.supernode import RunNotRunningException
from common.messages.codec import decode
from common.messages.exchanges import EnrolReply, EnrolRequest, Problem


def unasked(reply_to: Message) -> Message:
    """A reply to a message that was never sent."""
    other = Message(reply_to.content, 7, reply_to.metadata.message_type)
    other.metadata.__dict__["_message_id"] = "0" * 64
    return Message(reply_to.content, reply_to=other)


def keep(kept: list[Message]) -> Any:
    def handler(message: Message, context: Context) -> Message:
        kept.append(message)
        return app(message, context)

    return handler


def test_without_the_gate_a_second_reply_leaves(
    approved_node: Any, enrolment: EnrolRequest
) -> None:
    kept: list[Message] = []
    approved_node.ask("query.enrol", enrolment, keep(kept))
    approved_node.hand_in(Message(kept[0].content, reply_to=kept[0]))
    approved_node.push()
    assert len(approved_node.wire.replies) == 2


def test_a_second_reply_is_stopped_and_logged(
    approved_node: Any, gated: Any, enrolment: EnrolRequest, gate_log: Any
) -> None:
    gated()
    kept: list[Message] = []
    first = approved_node.ask("query.enrol", enrolment, keep(kept))
    approved_node.hand_in(Message(first.content, reply_to=kept[0]))
    approved_node.push()
    assert len(approved_node.wire.replies) == 1
    assert isinstance(decode(first.content), EnrolReply)
    assert '"code": "second_reply"' in gate_log()


def test_two_replies_at_once_give_one(
    approved_node: Any, gated: Any, enrolment: EnrolRequest, gate_log: Any
) -> None:
    def twice(message: Message, context: Context) -> Message:
        reply = app(message, context)
        approved_node.hand_in(reply)
        return Message(message.content, reply_to=message)

    gated()
    reply = approved_node.ask("query.enrol", enrolment, twice)
    assert isinstance(decode(reply.content), EnrolReply)
    assert len(approved_node.wire.replies) == 1
    assert '"code": "second_reply"' in gate_log()


def test_an_answer_that_is_there_before_the_message_is_confirmed_leaves(
    approved_node: Any, gated: Any, enrolment: EnrolRequest, gate_log: Any
) -> None:
    gated()
    push = approved_node.push

    def answer_at_once(message: Message) -> None:
        approved_node.hand_in(app(message, approved_node.context()))
        push()

    approved_node.received, approved_node.push = answer_at_once, lambda: None
    approved_node.ask("query.enrol", enrolment, keep([]))
    (reply,) = approved_node.wire.replies
    assert isinstance(decode(reply.content), EnrolReply)
    assert gate_log() == ""


def test_a_refusal_leaves_though_it_is_sent_while_it_is_being_noted(
    approved_node: Any, gated: Any, enrolment: EnrolRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def insert_and_send(*args: Any) -> None:
        insert_message(*args)
        push()

    gated()
    push, approved_node.push = approved_node.push, lambda: None
    other = EnrolRequest(run="r", study="0" * 64, study_json=enrolment.study_json)
    insert_message = supernode.insert_message
    monkeypatch.setattr(supernode, "insert_message", insert_and_send)
    approved_node.ask("query.enrol", other, app)
    (reply,) = approved_node.wire.replies
    assert isinstance(decode(reply.content), Problem)


def test_without_the_gate_a_reply_to_nothing_leaves(
    approved_node: Any, enrolment: EnrolRequest
) -> None:
    kept: list[Message] = []
    approved_node.ask("query.enrol", enrolment, keep(kept))
    approved_node.hand_in(unasked(kept[0]))
    approved_node.push()
    assert len(approved_node.wire.replies) == 2


def test_a_reply_to_a_message_never_asked_is_stopped_and_logged(
    approved_node: Any, gated: Any, enrolment: EnrolRequest, gate_log: Any
) -> None:
    gated()
    kept: list[Message] = []
    approved_node.ask("query.enrol", enrolment, keep(kept))
    approved_node.hand_in(unasked(kept[0]))
    approved_node.push()
    assert len(approved_node.wire.replies) == 1
    assert '"code": "not_asked"' in gate_log()


def test_the_reply_to_a_run_that_has_ended_is_dropped_and_holds_no_other_up(
    approved_node: Any, gated: Any, enrolment: EnrolRequest, gate_log: Any
) -> None:
    """The coordinator was started anew while its question was on its way."""

    def ended(message: Message) -> None:
        late.append(message)
        raise RunNotRunningException

    gated()
    late: list[Message] = []
    approved_node.received = ended
    assert approved_node.ask("query.enrol", enrolment, app) is None
    approved_node.hand_in(app(late[0], approved_node.context()))
    approved_node.received, hand_in = (lambda _: None), approved_node.hand_in
    # the app takes a while, and the reply to the earlier run is there already
    approved_node.hand_in = lambda reply: Timer(0.1, hand_in, [reply]).start()
    again = replace(enrolment, run="r2")
    assert approved_node.ask("query.enrol", again, app) is not None
    assert len(approved_node.wire.replies) == 1
    assert gate_log() == ""


def test_a_message_that_does_not_arrive_whole_is_passed_over(
    approved_node: Any, gated: Any, enrolment: EnrolRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    message, _, tree = approved_node._instruction("query.enrol", enrolment, 1)
    with monkeypatch.context() as patch:
        patch.setattr(approved_node, "_instruction", lambda *_: (message, {}, tree))
        gated()
        assert approved_node.ask("query.enrol", enrolment, app) is None
    assert approved_node.ask("query.enrol", enrolment, app) is not None
