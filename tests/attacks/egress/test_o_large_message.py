"""Attack (o): the server fills a hospital's memory with one message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from client.app import answer
from client.gate import supernode
from common.messages.codec import decode
from common.messages.exchanges import EnrolRequest, Problem


@pytest.mark.parametrize(("limit", "value"), [("MOST_BYTES", 100), ("MOST_PARTS", 2)])
def test_a_message_beyond_the_limits_is_refused_before_it_is_all_there(
    approved_node: Any,
    enrolment: EnrolRequest,
    gated: Callable[[], None],
    gate_log: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    value: int,
) -> None:
    monkeypatch.setattr(supernode, limit, value)
    gated()
    reply = approved_node.ask("query.enrol", enrolment, answer)
    problem = decode(reply.content)
    assert isinstance(problem, Problem)
    assert problem.kind == "request_unreadable"
    assert not approved_node.ran
    assert "too" in gate_log()


def test_the_same_message_within_the_limits_is_answered(
    approved_node: Any, enrolment: EnrolRequest, gated: Callable[[], None]
) -> None:
    gated()
    approved_node.ask("query.enrol", enrolment, answer)
    assert approved_node.ran == ["query.enrol"]
