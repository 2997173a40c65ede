"""Replies of many nodes asked for in one call, where Flower's grid makes one for each.

Every call costs the SuperLink a dozen milliseconds, and the coordinator's program asks often. The
grid's own method would put all replies that are there together at once, in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

from flwr.app import Error, Message, Metadata
from flwr.app.message import make_message
from flwr.common.constant import ErrorCode
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.serverapp import Grid
from flwr.supercore.constant import SYSTEM_MESSAGE_TYPE
from flwr.supercore.date import now
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    inflate_object_from_contents,
    pull_objects,
)
from flwr.superlink.grid.http_grid import HttpGrid

from common.flower.internals import number_message

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
"""Seconds between two looks for a part that is announced and not there yet."""


def pull_replies(grid: Grid, message_ids: Iterable[str]) -> Iterator[tuple[str, Message]]:
    """Yield the replies that are there with the message that each answers, one after the other.

    A reply is put together, and confirmed, when it is its turn.

    Parameters
    ----------
    message_ids : of the messages whose replies are waited for.
    """
    if not isinstance(grid, HttpGrid):
        for message_id in message_ids:
            for reply in grid.pull_messages([message_id]):
                yield message_id, reply
                del reply  # before the next one is looked for
        return
    found = grid._runtime_client.PullMessages(PullAppMessagesRequest(message_ids=list(message_ids)))
    for announced, tree in zip(found.messages_list, found.message_object_trees, strict=True):
        yield announced.metadata.reply_to_message_id, _whole(grid, tree, announced.metadata)


def _whole(grid: HttpGrid, tree: ObjectTree, announced: Metadata) -> Message:
    """Fetch the parts of a reply; an error in its place where they do not come."""
    client, run_id = grid._runtime_client, grid.run.run_id
    try:
        parts = pull_objects(
            [node.object_id for node in iterate_object_tree(tree)],
            make_pull_object_fn_protobuf(client.PullObject, grid.node, run_id),
            initial_backoff=FIRST_PAUSE,
            backoff_cap=LONGEST_PAUSE,
        )
    except ObjectPullError as error:
        return _lost(grid, announced.reply_to_message_id, run_id, str(error))
    client.ConfirmMessageReceived(
        ConfirmMessageReceivedRequest(
            node=grid.node, run_id=run_id, message_object_id=tree.object_id
        )
    )
    message = cast(Message, inflate_object_from_contents(tree.object_id, parts))
    number_message(message, tree.object_id)
    return message


def _lost(grid: HttpGrid, answered: str, run_id: int, why: str) -> Message:
    metadata = Metadata(
        run_id=run_id,
        message_id="",
        src_node_id=grid.node.node_id,
        dst_node_id=grid.node.node_id,
        message_type=SYSTEM_MESSAGE_TYPE,
        group_id="",
        ttl=0,
        reply_to_message_id=answered,
        created_at=now().timestamp(),
    )
    return make_message(metadata=metadata, error=Error(ErrorCode.MESSAGE_UNAVAILABLE, why))
