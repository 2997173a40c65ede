"""Replies asked for in one call, and put together one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import PullObjectResponse
from flwr.proto.runtime_pb2 import PullAppMessagesResponse
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.run import Run
from flwr.superlink.grid.http_grid import HttpGrid

from common.flower import grid as adapter
from common.flower.grid import Replies
from sim.engines.inprocess import SERVER_NODE, task_identity

RUN = 5


@pytest.fixture(autouse=True)
def server_identity() -> Iterator[None]:
    with task_identity(SERVER_NODE):
        yield


class Link:
    """A SuperLink's Runtime API with replies to hand out; every call is noted."""

    def __init__(self, *replies: Message) -> None:
        self.calls: list[str] = []
        self.parts: dict[str, bytes] = {}
        self.late: list[str] = []
        self.on_their_way: set[str] = set()
        self._found = PullAppMessagesResponse()
        for reply in replies:
            reply.metadata.__dict__["_message_id"] = reply.object_id
            with no_object_id_recompute():
                self._found.messages_list.append(
                    message_to_proto(remove_content_from_message(reply))
                )
                self._found.message_object_trees.append(get_object_tree(reply))
                objects = get_all_nested_objects(reply)
            self.parts |= {name: part.deflate() for name, part in objects.items()}

    def cut(self, half: Message) -> dict[str, bytes]:
        """Take away the part of a reply that is sent last; it never came."""
        with no_object_id_recompute():
            last = list(get_all_nested_objects(half))[-1]
        self.on_their_way.add(last)
        return {last: self.parts.pop(last)}

    def announces_nothing_more(self) -> None:
        """Hand out no reply a second time."""
        self._found = PullAppMessagesResponse()

    def PullMessages(self, request: Any) -> PullAppMessagesResponse:  # noqa: N802
        """Say which replies are there."""
        self.calls.append(f"messages {' '.join(request.message_ids)}")
        return self._found

    def PullObject(self, request: Any) -> PullObjectResponse:  # noqa: N802
        """Hand a part over, unless it is gone or still on its way."""
        name = request.object_id
        self.calls.append("part")
        if name in self.late:
            self.late.remove(name)
            return PullObjectResponse(object_found=True, object_available=False)
        content = self.parts.get(name)
        there = content is not None
        return PullObjectResponse(
            object_found=there or name in self.on_their_way,
            object_available=there,
            object_content=content or b"",
        )

    def ConfirmMessageReceived(self, request: Any) -> None:  # noqa: N802
        """Note that a reply was taken."""
        self.calls.append("taken")


def grid_over(link: Link) -> HttpGrid:
    grid = HttpGrid(token=str(RUN))
    grid._client = link  # type: ignore[assignment]
    grid.set_run(Run.create_empty(RUN))
    return grid


def reply(answered: str, number: int) -> Message:
    question = Message(RecordDict(), 7, "query.sum")
    question.metadata.__dict__["_message_id"] = answered
    question.metadata.__dict__["_run_id"] = RUN
    return Message(RecordDict({"n": ConfigRecord({"n": number})}), reply_to=question)


def numbers(found: list[tuple[str, Message]]) -> dict[str, Any]:
    return {asked: message.content["n"]["n"] for asked, message in found}  # type: ignore[index]


def test_all_replies_are_asked_for_in_one_call() -> None:
    link = Link(reply("a", 1), reply("b", 2))
    found = list(Replies(grid_over(link)).pull(["a", "b", "c"]))
    assert numbers(found) == {"a": 1, "b": 2}
    assert [call for call in link.calls if call.startswith("messages")] == ["messages a b c"]


def test_a_reply_is_fetched_when_it_is_its_turn() -> None:
    link = Link(reply("a", 1), reply("b", 2))
    replies = Replies(grid_over(link)).pull(["a", "b"])
    next(replies)
    assert link.calls.count("taken") == 1
    next(replies)
    assert link.calls.count("taken") == 2


def test_a_part_that_is_on_its_way_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "FIRST_PAUSE", 0.001)
    link = Link(reply("a", 1))
    link.late = list(link.parts)
    assert numbers(list(Replies(grid_over(link)).pull(["a"]))) == {"a": 1}


def test_a_reply_whose_sender_died_while_it_sent_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adapter, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(adapter, "STALLED_SECONDS", 0.01)
    half = reply("a", 1)
    link = Link(half, reply("b", 2))
    cut = link.cut(half)
    replies = Replies(grid_over(link))
    assert numbers(list(replies.pull(["a", "b"]))) == {"b": 2}
    link.announces_nothing_more()
    calls = len(link.calls)
    assert list(replies.pull(["a"])) == []
    assert link.calls[calls:] == ["messages a", "part"], "one look for the part that is missing"
    link.parts |= cut  # the hospital goes on where it was
    assert numbers(list(replies.pull(["a"]))) == {"a": 1}
    assert list(replies.pull(["a"])) == []


def test_a_reply_that_stalled_and_is_gone_is_an_error_to_ask_again_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adapter, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(adapter, "STALLED_SECONDS", 0.01)
    half = reply("a", 1)
    link = Link(half)
    link.cut(half)
    replies = Replies(grid_over(link))
    assert list(replies.pull(["a"])) == []
    link.announces_nothing_more()
    link.on_their_way.clear()  # the SuperLink has dropped what it had of the reply
    ((answered, lost),) = replies.pull(["a"])
    assert (answered, lost.error.code) == ("a", ErrorCode.MESSAGE_UNAVAILABLE)


def test_a_reply_that_nobody_waits_for_any_more_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adapter, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(adapter, "STALLED_SECONDS", 0.01)
    half = reply("a", 1)
    link = Link(half)
    cut = link.cut(half)
    replies = Replies(grid_over(link))
    assert list(replies.pull(["a"])) == []
    link.announces_nothing_more()
    assert list(replies.pull([])) == []
    link.parts |= cut
    assert list(replies.pull(["a"])) == []


def test_a_reply_whose_parts_are_gone_is_an_error_to_ask_again_about() -> None:
    link = Link(reply("a", 1), reply("b", 2))
    link.parts.pop(next(iter(Link(reply("a", 1)).parts)))
    found = dict(Replies(grid_over(link)).pull(["a", "b"]))
    (lost,) = [message for message in found.values() if message.has_error()]
    assert lost.error.code == ErrorCode.MESSAGE_UNAVAILABLE
    assert lost.metadata.reply_to_message_id in ("a", "b")


def test_other_grids_are_asked_for_one_message_at_a_time() -> None:
    class Other:
        def __init__(self) -> None:
            self.asked: list[list[str]] = []

        def pull_messages(self, message_ids: list[str]) -> list[Message]:
            self.asked.append(message_ids)
            return [reply(message_ids[0], len(self.asked))]

    other: Any = Other()
    assert numbers(list(Replies(other).pull(["a", "b"]))) == {"a": 1, "b": 2}
    assert other.asked == [["a"], ["b"]]
