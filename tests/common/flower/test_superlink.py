"""Turns at the SuperLink's file: nobody sleeps, and nobody looks for dead programs all the time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flwr.server.superlink.linkstate import LinkStateFactory
from flwr.supercore.constant import TaskType
from flwr.supercore.corestate.sql_corestate import SqlCoreState
from flwr.supercore.date import now
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.sql_mixin import SqlMixin
from flwr.superlink.federation import NoOpFederationManager

from common.errors import StudyError
from common.flower import seam, superlink


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Calls take turns in this test."""
    for owner, name, _ in superlink.SEAM:
        monkeypatch.setattr(owner, name, vars(owner)[name])
    superlink.take_turns()
    yield


@pytest.fixture
def state(tmp_path: Path) -> Any:
    database = str(tmp_path / "superlink.db")
    return LinkStateFactory(database, NoOpFederationManager(), ObjectStoreFactory(database)).state()


@pytest.mark.usefixtures("turns")
def test_a_call_begins_when_the_last_one_is_done(state: Any) -> None:
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait(60.0)
        with state.session():
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with state.session():
        inside.set()
        thread.join(0.2)
        with state.session():  # of the same call
            order.append("first")
    thread.join(60.0)
    assert order == ["first", "second"]


def test_without_turns_both_are_at_the_file_together(state: Any) -> None:
    order: list[str] = []

    def second() -> None:
        with state.session():
            order.append("second")

    with state.session():
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(60.0)
        order.append("first")
    assert order == ["second", "first"]


def test_dead_programs_are_looked_for_once_a_second(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    looks: list[str] = []
    monkeypatch.setattr(
        SqlCoreState, "_cleanup_expired_task_tokens", lambda self: looks.append("look")
    )
    now = [100.0]
    monkeypatch.setattr("common.flower.superlink.time.monotonic", lambda: now[0])
    request.getfixturevalue("turns")
    for now[0] in (100.0, 100.5, 100.9, 101.0, 101.5):
        SqlCoreState._cleanup_expired_task_tokens(None)  # type: ignore[arg-type]
    assert looks == ["look"] * 2


@pytest.mark.parametrize(("seconds", "again"), [(100.0, False), (121.0, True)])
def test_a_program_has_two_minutes_to_start_before_another_takes_its_place(
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    state: Any,
    seconds: float,
    again: bool,
) -> None:
    monkeypatch.setattr(superlink, "LOOK_SECONDS", 0.0)
    request.getfixturevalue("turns")
    task = state.create_task(TaskType.SERVER_APP, 1)
    token = state.claim_task(task)
    later = now() + timedelta(seconds=seconds)
    monkeypatch.setattr("flwr.supercore.corestate.sql_corestate.now", lambda: later)
    assert state.activate_task(task) is not again
    assert (state.get_task_by_token(token) is None) is again


@pytest.mark.parametrize(("owner", "name"), [one[:2] for one in superlink.SEAM])
def test_a_moved_seam_is_noticed(owner: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, name, lambda self, more: None)
    with pytest.raises(StudyError, match=name):
        superlink.take_turns()


def test_another_flower_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seam, "package_version", "1.42.0")
    with pytest.raises(StudyError, match=r"install flwr 1\.41\.0"):
        superlink.take_turns()


def test_flower_is_as_the_coordinator_was_made_for() -> None:
    seam.check_seam("the coordinator", superlink.SEAM, where="SuperLink")
    assert SqlMixin.session is vars(SqlMixin)["session"]
