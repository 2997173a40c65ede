"""Looks for messages that the SuperLink holds: woken by what they wait for, and never all of it."""

from __future__ import annotations

import signal
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from flwr.superlink.servicer.fleet import fleet_handlers
from flwr.superlink.servicer.runtime import runtime_handlers
from uvicorn import Config, Server

from common.errors import StudyError
from common.flower import superlink
from common.flower.superlink import HELD
from tests.fixtures.background import in_background

IDS = SimpleNamespace(message_ids=["m"])


class Mail:
    """Questions and replies in the SuperLink, and how often somebody looked for them."""

    def __init__(self) -> None:
        self.questions: list[str] = []
        self.replies: list[str] = []
        self.looked = threading.Semaphore(0)
        self.looks = 0

    def _taken(self, messages: list[str]) -> Any:
        self.looks += 1
        self.looked.release()
        return SimpleNamespace(messages_list=[messages.pop()] if messages else [])

    def pull(self, request: Any, state: Any, store: Any) -> Any:
        return self._taken(self.questions)

    def collect(self, request: Any, state: Any, task: Any) -> Any:
        return self._taken(self.replies)

    def reply(self, request: Any, state: Any) -> Any:
        self.replies.append("reply")

    def ask(self, request: Any, state: Any, task: Any) -> Any:
        self.questions.append("question")


@pytest.fixture
def mail(monkeypatch: pytest.MonkeyPatch) -> Mail:
    """Flower's functions with this behind them; a call that nobody wakes is held for an hour."""
    made = Mail()
    monkeypatch.setattr(fleet_handlers, "pull_messages", made.pull)
    monkeypatch.setattr(fleet_handlers, "push_messages", made.reply)
    monkeypatch.setattr(runtime_handlers, "pull_messages", made.collect)
    monkeypatch.setattr(runtime_handlers, "push_messages", made.ask)
    monkeypatch.setattr(superlink, "NODE_SECONDS", 3600.0)
    monkeypatch.setattr(superlink, "PROGRAM_SECONDS", 3600.0)
    return made


def pulled() -> Any:
    """As the router of Flower's SuperLink calls it."""
    return fleet_handlers.pull_messages(request=None, state=None, store=None)  # type: ignore[arg-type]


def collected(request: Any = IDS) -> Any:
    return runtime_handlers.pull_messages(request, None, None)  # type: ignore[arg-type]


def test_a_question_wakes_the_node_that_waits_for_it(mail: Mail) -> None:
    with superlink.held_calls(), in_background(pulled) as found:
        assert mail.looked.acquire(timeout=60.0)
        runtime_handlers.push_messages(None, None, None)  # type: ignore[arg-type]
    assert found[0].messages_list == ["question"]
    assert mail.looks == 2


def test_a_reply_wakes_the_program_that_waits_for_it(mail: Mail) -> None:
    with superlink.held_calls(), in_background(collected) as found:
        assert mail.looked.acquire(timeout=60.0)
        fleet_handlers.push_messages(request=None, state=None)  # type: ignore[arg-type]
    assert found[0].messages_list == ["reply"]


def test_what_is_there_already_is_handed_over_at_once(mail: Mail) -> None:
    mail.questions.append("question")
    mail.replies.append("reply")
    with superlink.held_calls():
        assert pulled().messages_list == ["question"]
        assert collected().messages_list == ["reply"]


def test_a_message_that_comes_while_one_looks_is_not_missed(
    mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bell rings after the look and before the wait."""
    honest = mail.pull

    def meanwhile(request: Any, state: Any, store: Any) -> Any:
        answer = honest(request, state, store)
        if mail.looks == 1:
            runtime_handlers.push_messages(None, None, None)  # type: ignore[arg-type]
        return answer

    monkeypatch.setattr(fleet_handlers, "pull_messages", meanwhile)
    with superlink.held_calls():
        assert pulled().messages_list == ["question"]


def test_a_call_is_answered_with_nothing_after_a_while(
    mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(superlink, "NODE_SECONDS", 0.01)
    monkeypatch.setattr(superlink, "PROGRAM_SECONDS", 0.01)
    with superlink.held_calls():
        assert pulled().messages_list == []
        assert collected().messages_list == []


def test_who_asks_for_no_reply_does_not_wait(mail: Mail) -> None:
    with superlink.held_calls():
        assert collected(SimpleNamespace(message_ids=[])).messages_list == []


def test_calls_beyond_the_places_are_answered_at_once(
    mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(superlink, "MOST_HELD", 1)
    with superlink.held_calls(), in_background(pulled) as found:
        assert mail.looked.acquire(timeout=60.0)
        time.sleep(0.1)
        assert collected().messages_list == []
        runtime_handlers.push_messages(None, None, None)  # type: ignore[arg-type]
    assert found[0].messages_list == ["question"]


def test_a_superlink_that_is_to_end_lets_nobody_wait(mail: Mail) -> None:
    with superlink.held_calls():
        server = Server(Config(app="unused"))
        with in_background(pulled) as found:
            assert mail.looked.acquire(timeout=60.0)
            server.handle_exit(signal.SIGTERM, None)
        assert server.should_exit
        assert collected().messages_list == []
    assert found[0].messages_list == []


def test_flowers_functions_are_back_in_the_end() -> None:
    before = [getattr(owner, name) for owner, name, _ in HELD]
    with superlink.held_calls():
        assert [getattr(owner, name) for owner, name, _ in HELD] != before
    assert [getattr(owner, name) for owner, name, _ in HELD] == before


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, name, _ in HELD])
def test_a_moved_function_is_noticed(
    owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, lambda request, more: None)
    with pytest.raises(StudyError, match=name), superlink.held_calls():
        pass
