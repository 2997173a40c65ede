"""A hospital behind the real seam of Flower's SuperNode, with the server's side in the test."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message, RecordDict
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run
from flwr.supernode import start_client_internal as flower
from flwr.supernode.nodestate import NodeStateFactory

from client.gate import approvals
from client.gate.site_gate import SiteGate
from client.gate.supernode import GatedNode
from client.site import SiteSettings, load_site
from common.flower.app import installed_app
from common.masking import identity
from common.messages.codec import encode
from common.messages.exchanges import EnrolRequest
from common.study.model import Study, load_study
from sim.engines.inprocess import task_identity
from sim.sites import place_sites, with_identities, write_site

ROOT = Path(__file__).resolve().parents[3]
NODE = 7
Handler = Callable[[Message, Context], Message]


@dataclass
class Wire:
    """Return what the server sees: replies by the message they answer, and every byte of them."""

    replies: list[Message] = field(default_factory=list)
    data: bytes = b""

    def send(self, message: Message, tree: Any, seconds: float) -> tuple[set[str], str]:
        self.replies.append(message)
        self.data += message.deflate()
        return {node.object_id for node in iterate_object_tree(tree)}, "session"

    def push(self, run_id: int, session: str, object_id: str, content: bytes) -> None:
        self.data += content


class Node:
    """Flower's own state, store and loop functions; the connection and the app are the test's."""

    def __init__(self, site: Path) -> None:
        self.site, self.fab, self.wire = site, installed_app().content, Wire()
        objects = ObjectStoreFactory()
        self.state = NodeStateFactory(objects).state()
        self.store = objects.store()
        self.state.set_node_id(NODE)
        self.ran: list[str] = []
        self.received: Callable[[Message], None] = lambda message: None

    def ask(self, kind: str, request: Any, handler: Handler, run_id: int = 1) -> Message | None:
        """One turn of Flower's loop: a message in, the app's answer, what went out."""
        message, contents, tree = self._instruction(kind, request, run_id)
        before = len(self.wire.replies)
        pulled = flower._pull_and_store_message(
            state=self.state,
            object_store=self.store,
            node_config={"site-config": str(self.site)},
            receive=lambda: (message, tree),
            get_run=self._run,
            get_fab=lambda digest, _: Fab(digest, self.fab, {}),
            pull_object=lambda _, object_id: contents[object_id],
            confirm_message_received=lambda run_id, message_id: self.received(message),
            trusted_entities=None,
        )
        if pulled is None:
            return None
        if self.state.get_messages_legacy(is_reply=False):
            self.ran.append(kind)
            self.hand_in(handler(message, self.context()))
        self.push()
        return self.wire.replies[before] if len(self.wire.replies) > before else None

    def context(self) -> Context:
        return Context(1, NODE, {"site-config": str(self.site)}, RecordDict(), {})

    def hand_in(self, reply: Message) -> None:
        """Act as an app does with its reply: SuperNode stores it, to be pushed."""
        flower._insert_message(reply, self.state, self.store)

    def push(self) -> None:
        flower._push_messages(
            state=self.state,
            object_store=self.store,
            send=self.wire.send,
            push_object=self.wire.push,
        )

    def _run(self, run_id: int) -> Run:
        """Answer as the server does about a run: the release's own app, as an honest one has it."""
        run, app = Run.create_empty(run_id), installed_app()
        run.fab_id, run.fab_version, run.fab_hash = app.identifier, app.version, app.digest
        return run

    def _instruction(
        self, kind: str, request: Any, run_id: int
    ) -> tuple[Message, dict[str, bytes], Any]:
        message = Message(encode(request), NODE, kind)
        message.metadata.__dict__["_run_id"] = run_id
        message.metadata.__dict__["_message_id"] = message.object_id
        contents = {name: part.deflate() for name, part in get_all_nested_objects(message).items()}
        copy = inflate_object_from_contents(message.object_id, dict(contents))
        assert isinstance(copy, Message)
        copy.metadata.__dict__["_message_id"] = message.object_id
        return copy, contents, get_object_tree(message)


@pytest.fixture(autouse=True)
def node_identity() -> Iterator[None]:
    with task_identity(NODE):
        yield


@pytest.fixture
def study(tabular: Path) -> Study:
    return with_identities(load_study(tabular / "study.toml"))


@pytest.fixture
def settings(tabular: Path) -> SiteSettings:
    placed = place_sites(
        {"a": tabular / "a"}, tabular / "run", tabular / "cache", exclude_bad_patients=False
    )
    closed = load_site(placed["a"]).model_copy(update={"approvals": "required"})
    return load_site(write_site(placed["a"].parent, closed))


@pytest.fixture
def site(settings: SiteSettings, tabular: Path) -> Path:
    return tabular / "run" / "sites" / "a" / "site.toml"


@pytest.fixture
def allow(settings: SiteSettings) -> Callable[[str], None]:
    """Approve a study at the site."""
    private = identity.load(settings.identity).private

    def approve(digest: str) -> None:
        approvals.approve(settings.work, private, digest, "test")

    return approve


@pytest.fixture
def approved_node(site: Path, study: Study, allow: Callable[[str], None]) -> Node:
    """A site that has approved the study; whether gated, the test decides."""
    allow(study.digest())
    return Node(site)


@pytest.fixture
def gated(settings: SiteSettings) -> Iterator[Callable[[], None]]:
    """Put the gate into Flower's loop when called; it is out again after the test."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(GatedNode(SiteGate(settings)).installed())


@pytest.fixture
def enrolment(study: Study) -> EnrolRequest:
    return EnrolRequest(run="r", study=study.digest(), study_json=study.model_dump_json())


@pytest.fixture
def gate_log(settings: SiteSettings) -> Callable[[], str]:
    path = settings.work / "gate.log"
    return lambda: path.read_text(encoding="utf-8") if path.is_file() else ""


@pytest.fixture(scope="session")
def coordinator() -> Any:
    """The module beside this file with a coordinator that listens and may lie."""
    spec = importlib.util.spec_from_file_location(
        "coordinator", Path(__file__).with_name("coordinator.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
