"""Parts of Flower that are not documented and that both sides need; loaded with `flwr.app`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flwr.app import Message
from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE, ErrorCode
from flwr.proto.node_pb2 import NodeInfo
from flwr.supercore.logger import FLOWER_LOGGER
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

__all__ = [
    "FLOWER_LOGGER",
    "SYSTEM_TIME_TOLERANCE",
    "TIMESTAMP_TOLERANCE",
    "ErrorCode",
    "NodeInfo",
    "Run",
    "acting_as",
    "number_message",
]


def number_message(message: Message, message_id: str) -> None:
    """Give a message its id, which Flower sets where messages enter a SuperLink."""
    message.metadata.__dict__["_message_id"] = message_id


@contextmanager
def acting_as(run_id: int, node_id: int) -> Iterator[None]:
    """Act as a node of a run, which Flower keeps in a class attribute of the whole process."""
    before = (TaskIdentity._run_id, TaskIdentity._task_id, TaskIdentity._node_id)
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = run_id, node_id, node_id
    try:
        yield
    finally:
        TaskIdentity._run_id, TaskIdentity._task_id, TaskIdentity._node_id = before
