"""Flower grid without processes: a message to a node is a call of the ClientApp.

No Ray and no network: it starts in the time of the imports and can be stepped through in a
debugger. ServerApp and ClientApp are the same objects that Flower's own engines run.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from common.flower.internals import NodeInfo, Run, acting_as, number_message

RUN_ID = 1
SERVER_NODE = 1


def task_identity(node_id: int) -> AbstractContextManager[None]:
    """Act as a node of the only run."""
    return acting_as(RUN_ID, node_id)


class InProcessGrid(Grid):
    """Grid with one node a site; a pushed message is answered when its reply is pulled.

    Parameters
    ----------
    client_app : the ClientApp that serves every node.
    sites : path of site.toml by site, in node order.
    """

    def __init__(self, client_app: ClientApp, sites: Mapping[str, Path]) -> None:
        self._app = client_app
        self._run = Run.create_empty(RUN_ID)
        first = SERVER_NODE + 1
        self._nodes = [NodeInfo(node_id=first + i, name=site) for i, site in enumerate(sites)]
        self._contexts = {
            first + i: Context(
                run_id=RUN_ID,
                node_id=first + i,
                node_config={"site-config": str(path)},
                state=RecordDict(),
                run_config={},
            )
            for i, path in enumerate(sites.values())
        }
        self._waiting: dict[str, Message] = {}
        self._number = itertools.count(1)

    def set_run(self, run: Run) -> None:
        """Take over the run's description."""
        self._run = run

    @property
    def run(self) -> Run:
        """Description of the run."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Return a message to a node."""
        return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

    def get_node_ids(self) -> Iterable[int]:
        """Return the ids of all nodes."""
        return list(self._contexts)

    def get_nodes(self) -> list[NodeInfo]:
        """Return all nodes, under the names by which a deployment registers them."""
        return self._nodes

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Take messages; each is answered when it is pulled, so one reply exists at a time."""
        ids = []
        for message in messages:
            message_id = f"m{next(self._number)}"
            number_message(message, message_id)
            self._waiting[message_id] = message
            ids.append(message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Answer these messages now."""
        replies = []
        for message_id in message_ids:
            message = self._waiting.pop(message_id, None)
            if message is None:
                continue
            node = message.metadata.dst_node_id
            with task_identity(node):
                replies.append(self._app(message, self._contexts[node]))
        return replies

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Push, then pull all replies."""
        return self.pull_messages(self.push_messages(messages))


def run_in_process(
    server_app: ServerApp,
    client_app: ClientApp,
    sites: Mapping[str, Path],
    run_config: Mapping[str, str],
) -> None:
    """Run a ServerApp over an in-process grid until it returns; its exceptions propagate."""
    context = Context(
        run_id=RUN_ID,
        node_id=SERVER_NODE,
        node_config={},
        state=RecordDict(),
        run_config=dict(run_config),
    )
    with task_identity(SERVER_NODE):
        server_app(InProcessGrid(client_app, sites), context)
