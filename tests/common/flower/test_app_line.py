"""Messages taken up at Flower's own SuperNode, one after the other over one line."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode, Status
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run
from flwr.supernode.main import create_app
from flwr.supernode.nodestate import NodeStateFactory
from flwr.supernode.servicer.runtime import runtime_handlers

from client.gate.loopback import HOST, Loopback
from common.flower import app_line
from common.flower.app_line import AppLine
from common.utils.processes import free_port
from sim.engines.inprocess import task_identity

NODE, RUN, APP = 7, 5, b"an app"


class Node:
    """State of a SuperNode with messages to hand out."""

    def __init__(self) -> None:
        self._objects = ObjectStoreFactory()
        self.factory = NodeStateFactory(self._objects)
        self.state: Any = self.factory.state()
        self.state.set_node_id(NODE)
        run = Run.create_empty(RUN)
        run.fab_hash = hashlib.sha256(APP).hexdigest()
        self.state.store_run(run)
        self.state.store_fab(Fab(run.fab_hash, APP, {}))
        self.state.set_run_series_context(run.series_id, Context(RUN, NODE, {}, RecordDict(), {}))

    def message(self, number: int) -> str:
        """Put a message in, and return the token of its task."""
        message = Message(RecordDict({"n": ConfigRecord({"n": number})}), NODE, "query.double")
        message.metadata.__dict__["_run_id"] = RUN
        message.metadata.__dict__["_message_id"] = message.object_id
        store = self._objects.store()
        store.preregister(RUN, get_object_tree(message))
        for name, part in get_all_nested_objects(message).items():
            store.put(name, part.deflate())
        self.state.create_task(TaskType.CLIENT_APP, RUN, fab_hash=hashlib.sha256(APP).hexdigest())
        self.state.store_message(message)
        asked = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
        return str(runtime_handlers.acquire_task(asked, self.state).token)

    def replies(self) -> list[Message]:
        """Take the replies."""
        return list(self.state.get_messages_legacy(is_reply=True))

    def statuses(self) -> list[str]:
        """Return how the tasks stand."""
        return [task.status.status for task in self.state.get_tasks()]


@pytest.fixture
def node() -> Iterator[Node]:
    with task_identity(1):
        yield Node()


@pytest.fixture
def line(node: Node, tmp_path: Path) -> Iterator[AppLine]:
    """A line to that SuperNode, which proves itself."""
    own, port = Loopback(tmp_path / "loopback"), free_port()
    own.renew()
    with listening(node, own, port):
        yield AppLine(f"{HOST}:{port}", own.certificate, os.getpid())


@contextmanager
def listening(node: Node, own: Loopback, port: int) -> Iterator[None]:
    files = {"ssl_certfile": str(own.certificate), "ssl_keyfile": str(own.key)}
    config = uvicorn.Config(
        create_app(node.factory, b"s"),
        HOST,
        port,
        log_level="critical",
        **files,  # type: ignore[arg-type]
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = server.force_exit = True
        thread.join()


def doubling() -> ClientApp:
    app = ClientApp()

    @app.query("double")
    def double(message: Message, context: Context) -> Message:
        number = message.content["n"]["n"]  # type: ignore[index]
        if number < 0:  # type: ignore[operator]
            raise ValueError("not below zero")
        return Message(
            RecordDict({"n": ConfigRecord({"n": 2 * number})}),  # type: ignore[operator, dict-item]
            reply_to=message,
        )

    return app


def test_one_line_answers_message_after_message(node: Node, line: AppLine) -> None:
    app = doubling()
    for number in (1, 2, 3):
        line.answer(node.message(number), app)
        (reply,) = node.replies()
        assert reply.has_content()
        assert reply.metadata.message_type == "query.double"
    assert node.statuses() == [Status.FINISHED] * 3


def test_an_app_that_fails_is_answered_for_and_the_next_message_is_answered(
    node: Node, line: AppLine
) -> None:
    app = doubling()
    line.answer(node.message(-1), app)
    (failed,) = node.replies()
    assert failed.error.code == ErrorCode.CLIENT_APP_RAISED_EXCEPTION
    line.answer(node.message(1), app)
    (reply,) = node.replies()
    assert reply.has_content()


def test_a_message_under_another_token_is_not_handed_over(
    node: Node, line: AppLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "kill", end)  # Flower ends a process that is not let in
    node.message(1)
    with pytest.raises(KeyboardInterrupt):
        line.answer("guessed", doubling())
    assert node.replies() == []


def test_an_app_that_answers_for_long_says_that_it_is_alive(
    node: Node, line: AppLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats = threading.Event()
    monkeypatch.setattr(app_line, "FIRST_BEAT_SECONDS", 0.0)
    monkeypatch.setattr(node.state, "acknowledge_task_heartbeat", lambda _: beats.set() is None)
    app = ClientApp()

    @app.query("double")
    def slow(message: Message, context: Context) -> Message:
        assert beats.wait(60.0)
        return Message(RecordDict(), reply_to=message)

    line.answer(node.message(1), app)
    (reply,) = node.replies()
    assert reply.has_content()
