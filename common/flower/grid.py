"""Replies of many nodes asked for in one call, where Flower's grid makes one for each.

Every call costs the SuperLink a dozen milliseconds, and the coordinator's program asks often. The
grid's own method would put all replies that are there together at once, in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
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
    ObjectUnavailableError,
    inflate_object_from_contents,
    pull_objects,
)
from flwr.superlink.grid.http_grid import HttpGrid

from common.flower.internals import number_message

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
"""Seconds between two looks for a part that is announced and not there yet."""


STALLED_SECONDS = 5.0
"""Time without another part after which a reply is put aside, and others come meanwhile."""


class _StalledError(ObjectPullError):
    """No other part of a reply came for a while; it may still come."""


@dataclass
class _Announced:
    """A reply that the SuperLink has announced, of which parts may be missing.

    Parameters
    ----------
    unseen : ids of the parts that were never there, in the order in which they are fetched.
    """

    metadata: Metadata
    tree: ObjectTree
    unseen: list[str] = field(init=False)
    stalled: bool = False
    _progress: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.unseen = self.parts

    @property
    def parts(self) -> list[str]:
        """Return the ids of all parts."""
        return list(dict.fromkeys(node.object_id for node in iterate_object_tree(self.tree)))

    def fetch(self, part: str, pull: Callable[[str], bytes]) -> bytes:
        """Return a part, and remember that it was there.

        Raises
        ------
        ObjectUnavailableError : it is on its way.
        _StalledError : it is, and no other has come for a while.
        ObjectPullError : it is gone.
        """
        try:
            content = pull(part)
        except ObjectUnavailableError:
            if time.monotonic() - self._progress > STALLED_SECONDS:
                self.stalled = True
                raise _StalledError(part, "it is not there yet") from None
            raise
        if part in self.unseen:
            self.unseen.remove(part)
            self._progress = time.monotonic()
        return content


class Replies:
    """Replies that come over a grid, each handed over once all of it is there.

    A node that loses its power while it sends leaves a reply whose other parts may never come. It
    is put aside, and looked at again with every call, so that it holds up nobody else's. Its parts
    are fetched anew in the end: between calls, nothing but their names is in memory.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._announced: dict[str, _Announced] = {}

    def pull(self, message_ids: Iterable[str]) -> Iterator[tuple[str, Message]]:
        """Yield the replies that are there with the message that each answers, one by one.

        A reply is put together, and confirmed, when it is its turn.
        """
        grid, wanted = self._grid, list(message_ids)
        if not isinstance(grid, HttpGrid):
            for message_id in wanted:
                for reply in grid.pull_messages([message_id]):
                    yield message_id, reply
                    del reply  # before the next one is looked for
            return
        found = grid._runtime_client.PullMessages(PullAppMessagesRequest(message_ids=wanted))
        new = zip(found.messages_list, found.message_object_trees, strict=True)
        announced = {one.metadata.reply_to_message_id: (one.metadata, tree) for one, tree in new}
        earlier = {name: one for name, one in self._announced.items() if name in wanted}
        self._announced = {
            **{name: _Announced(*one) for name, one in announced.items() if name not in earlier},
            **earlier,
        }
        for message_id, one in list(self._announced.items()):
            whole = _whole(grid, one)
            if whole is not None:
                del self._announced[message_id]
                yield message_id, whole
                del whole


def _whole(grid: HttpGrid, one: _Announced) -> Message | None:
    """Fetch the parts of a reply; None if some are on their way, an error if they do not come."""
    client, run_id = grid._runtime_client, grid.run.run_id
    pull = make_pull_object_fn_protobuf(client.PullObject, grid.node, run_id)
    try:
        if one.stalled:
            for part in list(one.unseen):
                one.fetch(part, pull)
            one.stalled = False
        parts = pull_objects(
            one.parts,
            lambda part: one.fetch(part, pull),
            initial_backoff=FIRST_PAUSE,
            backoff_cap=LONGEST_PAUSE,
        )
    except (_StalledError, ObjectUnavailableError):
        return None
    except ObjectPullError as error:
        return _lost(grid, one.metadata.reply_to_message_id, run_id, str(error))
    client.ConfirmMessageReceived(
        ConfirmMessageReceivedRequest(
            node=grid.node, run_id=run_id, message_object_id=one.tree.object_id
        )
    )
    message = cast(Message, inflate_object_from_contents(one.tree.object_id, parts))
    number_message(message, one.tree.object_id)
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
