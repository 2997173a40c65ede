"""Calls that wait in the SuperNode: woken by what they wait for, and gone when taken out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from flwr.proto.runtime_pb2 import AcquireTaskRequest, AcquireTaskResponse
from flwr.supercore.constant import TaskType
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supernode.nodestate import NodeStateFactory
from flwr.supernode.servicer.runtime import runtime_handlers

from common.errors import StudyError
from common.flower import waiting
from common.flower.waiting import Doorbell
from tests.fixtures.background import in_background

ASKED = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])


@pytest.fixture
def state() -> Any:
    return NodeStateFactory(ObjectStoreFactory()).state()


@pytest.fixture
def forever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that nobody wakes is kept for an hour."""
    monkeypatch.setattr(waiting, "TASK_SECONDS", 3600.0)
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 3600.0)


@pytest.mark.usefixtures("forever")
def test_a_task_that_comes_wakes_the_launcher(state: Any) -> None:
    bell = Doorbell()
    with bell.installed(), in_background(lambda: acquire(state)) as found:
        state.create_task(TaskType.CLIENT_APP, 1, fab_hash="f")
        bell.task_is_there()
    assert found[0].token


def acquire(state: Any) -> AcquireTaskResponse:
    return runtime_handlers.acquire_task(ASKED, state)


@pytest.mark.usefixtures("forever")
def test_a_task_that_is_there_already_is_handed_over_at_once(state: Any) -> None:
    state.create_task(TaskType.CLIENT_APP, 1, fab_hash="f")
    with Doorbell().installed():
        assert acquire(state).token


def test_a_launcher_is_sent_away_after_a_while(state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "TASK_SECONDS", 0.01)
    with Doorbell().installed():
        assert not acquire(state).token


@pytest.mark.usefixtures("forever")
def test_a_reply_of_the_app_wakes_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[str] = []
    monkeypatch.setattr(
        runtime_handlers, "push_messages", lambda request, state, task: there.append("reply")
    )
    bell = Doorbell()
    waited = bell.waits_for_replies(SimpleNamespace(get_messages_legacy=lambda **_: list(there)))
    with (
        bell.installed(),
        in_background(lambda: waited.get_messages_legacy(is_reply=True)) as found,
    ):
        runtime_handlers.push_messages(None, None, None)  # type: ignore[arg-type]
    assert found == [["reply"]]


def test_the_loop_looks_by_itself_as_flower_answers_for_an_app_that_died(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.01)
    looks = iter([[], [], ["crashed"]])
    state = SimpleNamespace(get_messages_legacy=lambda **_: next(looks), delete_messages="as it is")
    waited = Doorbell().waits_for_replies(state)
    assert waited.get_messages_legacy(is_reply=True) == ["crashed"]
    assert waited.delete_messages == "as it is"


def test_flowers_own_calls_are_back_afterwards() -> None:
    before = [getattr(runtime_handlers, name) for _, name, _ in waiting.SEAM]
    with Doorbell().installed():
        assert all(
            getattr(runtime_handlers, name) is not old
            for (_, name, _), old in zip(waiting.SEAM, before, strict=True)
        )
    assert [getattr(runtime_handlers, name) for _, name, _ in waiting.SEAM] == before


@pytest.mark.parametrize("name", [name for _, name, _ in waiting.SEAM])
def test_a_function_that_is_gone_or_has_other_parameters_is_noticed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in (None, lambda state: None):
        monkeypatch.setattr(runtime_handlers, name, other)
        with (
            pytest.raises(StudyError, match="not the one that the gate was made for"),
            Doorbell().installed(),
        ):
            pass
