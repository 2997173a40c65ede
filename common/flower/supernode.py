"""Private functions of Flower's SuperNode between which a hospital's gate stands.

They are those of one release: `check_seam` fails where a function is gone, has other parameters, or
is no longer called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.constant import TaskType
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import (
    inflate_object_from_contents,
    pull_objects,
    push_objects,
)
from flwr.supercore.run import Run, RunNotRunningException
from flwr.supernode import start_client_internal as loop
from flwr.supernode.cli.flower_supernode import flower_supernode

from common.flower import seam

__all__ = [
    "Fab",
    "ObjectTree",
    "Run",
    "RunNotRunningException",
    "TaskType",
    "check_seam",
    "flower_supernode",
    "get_all_nested_objects",
    "get_object_tree",
    "inflate_object_from_contents",
    "insert_message",
    "iterate_object_tree",
    "loop_functions",
    "no_object_id_recompute",
    "pull_objects",
    "push_objects",
    "replaced",
]
SEAM = (
    (
        loop,
        "_pull_and_store_message",
        "state object_store node_config receive get_run get_fab pull_object"
        " confirm_message_received trusted_entities",
    ),
    (loop, "_verify_fab", "fab trusted_entities"),
    (loop, "_push_messages", "state object_store send push_object"),
    (loop, "_insert_message", "msg state store"),
)
"""Functions that are replaced or called."""


def check_seam() -> None:
    """Return if Flower is as the gate was written for.

    Raises
    ------
    StudyError : another release, or the private functions have moved.
    """
    used = loop.start_client_internal.__code__.co_names
    moved = [name for _, name, _ in (SEAM[0], SEAM[2]) if name not in used]
    seam.check_seam("the gate", SEAM, where="gate", moved=moved)


def loop_functions() -> tuple[Callable[..., int | None], Callable[..., None]]:
    """Return what pulls messages and what pushes replies, as they are now."""
    return loop._pull_and_store_message, loop._push_messages


def insert_message(message: Any, state: Any, object_store: Any) -> None:
    """Hand a reply in, as an app does."""
    loop._insert_message(message, state, object_store)


@contextmanager
def replaced(functions: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """Put functions into Flower's loop under these names, and its own back in the end."""
    check_seam()
    with seam.replaced((loop, name, function) for name, function in functions.items()):
        yield
