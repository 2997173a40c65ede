"""Questions over a grid that loses them: who is asked again, when, and what people see."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.proto.node_pb2 import NodeInfo

from common.errors import SiteError
from server.federation.dispatch import Connection, Dispatch
from server.progress.events import Events
from sim.engines.inprocess import SERVER_NODE, task_identity

NAMES = {2: "a", 3: "b"}
ASKED = RecordDict({"question": ConfigRecord({"n": 1})})


@pytest.fixture(autouse=True)
def server_identity() -> Iterator[None]:
    with task_identity(SERVER_NODE):
        yield


@dataclass
class Network:
    """A grid over time: `answer` gives what is there for a message at a time, None = nothing."""

    answer: Callable[[Message, float], Message | None]
    now: float = 0.0
    away: list[tuple[int, float, float]] = field(default_factory=list)
    pushed: list[tuple[float, int]] = field(default_factory=list)
    answered: list[dict[str, Any]] = field(default_factory=list)
    messages: dict[str, Message] = field(default_factory=dict)

    def get_nodes(self) -> list[NodeInfo]:
        """Nodes that are there; their last activation is the end of their last absence."""
        found = []
        for node in NAMES:
            absences = [(start, end) for who, start, end in self.away if who == node]
            if not any(start <= self.now < end for start, end in absences):
                back = max((end for _, end in absences if end <= self.now), default=0.0)
                found.append(NodeInfo(node_id=node, last_activated_at=str(back)))
        return found

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Take messages."""
        ids = []
        for message in messages:
            ids.append(f"m{len(self.messages)}")
            message.metadata.__dict__["_message_id"] = ids[-1]
            self.messages[ids[-1]] = message
            self.pushed.append((self.now, message.metadata.dst_node_id))
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Replies that are there; each is handed out once."""
        found = []
        for message_id in message_ids:
            if message_id in self.messages:
                reply = self.answer(self.messages[message_id], self.now)
                if reply is not None:
                    del self.messages[message_id]
                    found.append(reply)
        return found

    def sleep(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    def connection(self) -> Connection:
        """A connection over this grid and its clock."""
        events = Events(listener=self.answered.append)
        name = NAMES.__getitem__
        return Connection(self, events, name, clock=lambda: self.now, sleep=self.sleep)  # type: ignore[arg-type]

    def kinds(self) -> list[str]:
        """Events in order."""
        return [event["kind"] for event in self.answered]


def reply_to(message: Message, error: int | None = None) -> Message:
    content = RecordDict() if error is None else Error(error, "")
    reply = Message(content, reply_to=message)
    reply.metadata.__dict__["_reply_to_message_id"] = message.metadata.message_id
    source = message.metadata.dst_node_id if error is None else 1
    reply.metadata.__dict__["_src_node_id"] = source
    return reply


def answers(network: Network, seconds: float = 3600.0) -> list[int]:
    """Nodes in the order in which they answered."""
    dispatch = Dispatch(network.connection(), "query.sum", seconds)
    dispatch.ask(dict.fromkeys(NAMES, lambda: ASKED))
    return [node for node, _ in dispatch.replies()]


def after(**seconds: float) -> Callable[[Message, float], Message | None]:
    """Every site answers this long after the first message to it."""
    first: dict[int, float] = {}

    def answer(message: Message, now: float) -> Message | None:
        node = message.metadata.dst_node_id
        began = first.setdefault(node, now)
        return reply_to(message) if now - began >= seconds[NAMES[node]] else None

    return answer


def test_replies_come_in_the_order_in_which_sites_answer() -> None:
    network = Network(after(a=20.0, b=1.0))
    assert answers(network) == [3, 2]
    assert network.pushed == [(0.0, 2), (0.0, 3)]
    assert network.answered == []


@pytest.mark.parametrize("answered", ["shorter", "empty", "none"])
def test_a_question_that_was_not_taken_is_asked_again_and_the_other_is_not(answered: str) -> None:
    network = Network(after(a=1.0, b=1.0))
    push = network.push_messages

    def refuse_the_first(messages: Iterable[Message]) -> list[Any]:
        """As Flower's grids tell it, each in its own way."""
        given = list(messages)
        network.push_messages = push  # type: ignore[method-assign]
        ids = push(given[1:])
        return ids if answered == "shorter" else ["" if answered == "empty" else None, *ids]

    network.push_messages = refuse_the_first  # type: ignore[method-assign]
    assert sorted(answers(network)) == [2, 3]
    assert [node for _, node in network.pushed] == [3, 2]


def test_late_sites_are_named_every_half_minute_with_how_long_they_are_waited_for() -> None:
    network = Network(after(a=100.0, b=40.0))
    answers(network)
    notices = [event["sites"] for event in network.answered if event["kind"] == "waiting"]
    assert [[site["site"] for site in sites] for sites in notices] == [["a", "b"], ["a"], ["a"]]
    assert [sites[0]["seconds"] for sites in notices] == pytest.approx([30, 60, 90], abs=4)


def test_an_offline_site_is_asked_again_when_it_is_back_and_not_before() -> None:
    def answer(message: Message, now: float) -> Message | None:
        gone = message.metadata.dst_node_id == 2 and 5.0 <= now < 90.0
        if gone:
            return reply_to(message, error=5)
        return reply_to(message) if now >= 90.0 or message.metadata.dst_node_id == 3 else None

    network = Network(answer, away=[(2, 5.0, 90.0)])
    assert answers(network) == [3, 2]
    again = [when for when, node in network.pushed if node == 2][1:]
    assert len(again) == 1
    assert 90.0 <= again[0] <= 97.0
    waiting = [event["sites"][0] for event in network.answered if event["kind"] == "waiting"]
    assert {site["why"] for site in waiting} == {"not connected"}


def test_a_site_that_was_away_unnoticed_is_asked_again() -> None:
    """Killed after it took the message and back within a look: Flower reports no error."""

    def answer(message: Message, now: float) -> Message | None:
        first_to_a = message.metadata.message_id == "m0"
        return None if first_to_a else reply_to(message)

    network = Network(answer, away=[(2, 7.0, 7.5)])
    assert answers(network) == [3, 2]
    assert next(event for event in network.answered if event["kind"] == "asked_again")["why"] == (
        "it was away"
    )


def test_a_site_silent_much_longer_than_the_others_is_asked_again_ever_more_seldom() -> None:
    def answer(message: Message, now: float) -> Message | None:
        due = 30.0 if message.metadata.dst_node_id == 3 else 1000.0
        return reply_to(message) if now >= due else None

    network = Network(answer)
    assert answers(network, seconds=20_000.0) == [3, 2]
    asked = [when for when, node in network.pushed if node == 2]
    gaps = [late - early for early, late in itertools.pairwise(asked)]
    assert gaps == pytest.approx([120, 240, 480], abs=10)


def test_a_late_reply_to_an_answered_question_is_passed_over_and_told() -> None:
    late = {"m0": 100.0, "m2": 80.0, "m1": 300.0}

    def answer(message: Message, now: float) -> Message | None:
        due = late.get(message.metadata.message_id, now)
        return reply_to(message) if now >= due else None

    network = Network(answer, away=[(2, 7.0, 7.5)])
    assert answers(network) == [2, 3]
    assert network.kinds().count("late_reply") == 1
    assert next(e for e in network.answered if e["kind"] == "late_reply")["site"] == "a"


def test_a_wait_for_several_names_them_all_at_the_limit() -> None:
    network = Network(lambda message, now: None)
    with pytest.raises(SiteError, match="sites a, b: no reply in time -> see that the site"):
        answers(network, seconds=50.0)
    assert 50.0 < network.now < 53.0


def test_lost_questions_are_asked_again_after_growing_pauses() -> None:
    def answer(message: Message, now: float) -> Message | None:
        lost = message.metadata.dst_node_id == 2 and now < 20.0
        return reply_to(message, error=3 if lost else None)

    network = Network(answer)
    assert answers(network) == [3, 2]
    asked = [when for when, node in network.pushed if node == 2]
    gaps = [late - early for early, late in itertools.pairwise(asked)]
    assert all(later > earlier for earlier, later in itertools.pairwise(gaps))
    assert asked[-1] < 40.0


def test_messages_outlive_the_wait_so_that_a_wrong_clock_at_a_site_does_no_harm() -> None:
    network = Network(lambda message, now: None)
    dispatch = Dispatch(network.connection(), "query.sum", 60.0)
    dispatch.ask({2: lambda: ASKED})
    (message,) = network.messages.values()
    assert message.metadata.ttl > 60.0 + 2 * 3600.0


def test_an_app_that_dies_every_time_ends_the_wait() -> None:
    network = Network(lambda message, now: reply_to(message, error=8))
    with pytest.raises(SiteError, match="site a: its app's process ended 5 times"):
        answers(network)


def test_sites_that_stay_offline_are_named_with_the_reason_at_the_limit() -> None:
    def answer(message: Message, now: float) -> Message:
        return reply_to(message, error=5 if message.metadata.dst_node_id == 2 else None)

    network = Network(answer, away=[(2, 0.0, 1e9)])
    with pytest.raises(SiteError, match=r"site a: no reply in time \(a: not connected\)"):
        answers(network, seconds=600.0)
    assert 600.0 < network.now < 610.0


def test_a_question_is_not_kept_in_memory_while_it_is_waited_for() -> None:
    made: list[weakref.ref[RecordDict]] = []

    def content() -> RecordDict:
        record = RecordDict()
        made.append(weakref.ref(record))
        return record

    network = Network(lambda message, now: None)
    dispatch = Dispatch(network.connection(), "query.sum", 60.0)
    dispatch.ask(dict.fromkeys(NAMES, content))
    assert len(made) == 1  # the same for both
    network.messages.clear()
    assert made[0]() is None


def test_a_question_is_made_anew_when_it_is_asked_again() -> None:
    made: list[float] = []

    def content() -> RecordDict:
        made.append(network.now)
        return RecordDict()

    network = Network(lambda message, now: reply_to(message, error=None if now > 3.0 else 5))
    dispatch = Dispatch(network.connection(), "query.sum", 3600.0)
    dispatch.ask({2: content})
    assert [node for node, _ in dispatch.replies()] == [2]
    assert made == [when for when, _ in network.pushed]
    assert len(made) > 1
