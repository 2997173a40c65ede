"""Flower's SuperNode with the gate inside: nothing the server ships stands between them.

The gate stands in place of three private functions of Flower's loop (`common.flower.supernode`):
what pulls messages and apps, what checks an app, and what pushes replies. Another release, or other
signatures, and it does not start. The app runs in a process of its own, which
`client.gate.launcher` starts and which can reach the server only through this one, as far as the
machine's firewall says so too.

`python -m client.gate.supernode SITE.TOML` runs it; people use `fedlnm-site run`.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

from flwr.app import Message, RecordDict

from client.gate.attendance import Attendance
from client.gate.loopback import loopback_of
from client.gate.schema import StoppedError, expect
from client.gate.site_gate import AdmittedRequest, SiteGate
from client.gate.site_log import leave_the_screen_to_the_site
from client.gate.standing import StandingFile
from client.site import LOG, SiteSettings, deployment_of, load_site
from common.flower.app import installed_app
from common.flower.arrays import join_arrays_once
from common.flower.internals import number_message
from common.flower.pushes import push_few_at_once
from common.flower.supernode import (
    Fab,
    ObjectTree,
    Run,
    RunNotRunningException,
    TaskType,
    flower_supernode,
    get_all_nested_objects,
    get_object_tree,
    inflate_object_from_contents,
    insert_message,
    iterate_object_tree,
    loop_functions,
    no_object_id_recompute,
    pull_objects,
    push_objects,
    replaced,
)
from common.flower.waiting import Doorbell
from common.study.release_mark import own_release
from common.utils.bounded import GIB
from common.utils.processes import end_with_this_thread, write_for_this_user_alone

# Flower has an app checked only where somebody is trusted; the gate checks in their place
_TRUSTED = {"gate": "of this site"}
_POLL_SECONDS, _PARTS_SECONDS = 0.01, 600.0
# between two looks for a message: short after the last one, and longer the longer there is none
_FIRST_PAUSE, _LONGEST_PAUSE, _LONGER = 0.05, 3.0, 1.25
# a coordinator that holds a call until there is a message is asked again at once
_HELD_SECONDS = 1.0
# of a message that is announced, the parts may still be on their way
_FIRST_PARTS_PAUSE, _LONGEST_PARTS_PAUSE = 0.02, 1.0
MOST_PARTS, MOST_BYTES = 10_000, 4 * GIB
"""Parts and bytes of a message; Flower cuts arrays into parts of about 20 MB."""
Connection = Callable[..., Any]


@dataclass(frozen=True)
class _Received:
    """Message as it came, with its run and the request in it; an answer where it was refused."""

    message: Message
    run: Run | None
    asked: AdmittedRequest
    answer: RecordDict | None = None


class _Allowed:
    """Parts of a message, as many and as large as the messages of this system have."""

    def __init__(self, pull: Callable[[str], bytes]) -> None:
        self._pull, self._left, self._lock = pull, MOST_BYTES, Lock()

    def ids(self, tree: ObjectTree) -> list[str]:
        """Return the names of the parts; StoppedError where there are too many."""
        found = [node.object_id for node in islice(iterate_object_tree(tree), MOST_PARTS + 1)]
        expect(len(found) <= MOST_PARTS, "request_unreadable", "a message of too many parts")
        return found

    def pull(self, name: str) -> bytes:
        """Return a part; StoppedError where the parts so far are too large."""
        expect(self._left >= 0, "request_unreadable", "a message that is too large")
        part = self._pull(name)
        with self._lock:
            self._left -= len(part)
        expect(self._left >= 0, "request_unreadable", "a message that is too large")
        return part


class GatedNode:
    """Gate of a site at the seam; `installed` puts it there.

    It admits the app of the release that is installed here and no other: one file, known to the
    byte, without any code.
    """

    def __init__(self, gate: SiteGate) -> None:
        self._gate, self._app = gate, installed_app()
        self._open: dict[str, _Received] = {}
        self._answered: set[str] = set()
        self._given_up: set[str] = set()
        self._bell = Doorbell()
        standing = StandingFile(gate.settings.work)
        self._attendance = Attendance(gate.settings.name, standing=standing)
        gate.heed = self._attendance.stopped
        self._pull, self._push = loop_functions()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Put the gate into Flower's loop, and take it out again."""
        functions: dict[str, Connection] = {
            "_pull_and_store_message": self.pull_and_store_message,
            "_verify_fab": self.verify_fab,
            "_push_messages": self.push_messages,
        }
        with replaced(functions), self._bell.installed():
            yield

    # -- in ------------------------------------------------------------------------------------

    def pull_and_store_message(self, **flowers: Any) -> int | None:
        """Pull as Flower does, but only messages that the gate admits.

        The parts of a message are fetched here, before Flower makes a task of it that an app could
        take up; Flower then gets them, and the run that was judged, from memory. Whom Flower trusts
        is not asked.

        Parameters
        ----------
        flowers : what Flower hands its own function, by the names in `common.flower.supernode`.
        """
        parts: dict[str, bytes] = {}
        turn: list[_Received] = []

        def take_up(received: _Received) -> None:
            """Expect a reply before anything could give one: the other thread sends at once."""
            turn.append(received)
            self._open[received.message.metadata.message_id] = received

        def admitted() -> tuple[Message, ObjectTree] | None:
            """Return the next message, unless the gate keeps it."""
            received = _next(flowers["receive"], self._attendance.polled)
            if received is None:
                return None
            message, tree = received
            allowed = _Allowed(partial(flowers["pull_object"], message.metadata.run_id))
            try:
                parts.update(_fetched(allowed.ids(tree), allowed.pull))
            except RunNotRunningException:
                raise
            except StoppedError as error:
                asked = AdmittedRequest(message.metadata.message_type)
                take_up(_Received(message, None, asked, self._gate.stop(error, asked)))
                return None
            except Exception as error:  # as Flower does: this message is lost, the site goes on
                LOG.error("a message did not arrive whole: %s", error)
                return None
            take_up(self._judge(message, dict(parts), flowers["state"], flowers["get_run"]))
            return received if turn[0].answer is None else None

        gates: dict[str, Any] = {
            "receive": admitted,
            "get_run": lambda _: turn[0].run,
            "get_fab": partial(_fetch_app, flowers["get_fab"]),
            "pull_object": lambda _, object_id: parts[object_id],
            "trusted_entities": _TRUSTED,
        }
        run_id = self._pull(**{**flowers, **gates})
        for received in turn:
            metadata = received.message.metadata
            if received.answer is not None:
                run_id = metadata.run_id
                flowers["confirm_message_received"](run_id, metadata.message_id)
                reply = Message(received.answer, reply_to=received.message)
                insert_message(reply, flowers["state"], flowers["object_store"])
            if run_id is None:
                # its run has ended; the app may have taken it up, and its reply leads nowhere
                self._open.pop(metadata.message_id, None)
                self._given_up.add(metadata.message_id)
        self._bell.task_is_there()
        return run_id

    def _judge(
        self, message: Message, parts: dict[str, bytes], state: Any, get_run: Connection
    ) -> _Received:
        """Admit a message, or answer at once instead of asking the app."""
        exchange, run_id = message.metadata.message_type, message.metadata.run_id
        try:
            run: Run = state.get_run(run_id) or get_run(run_id)
            self._check_run(run, run_id)
            whole = inflate_object_from_contents(message.metadata.message_id, parts)
            if not isinstance(whole, Message) or not whole.has_content():
                raise StoppedError("request_unreadable", "a message without content")
            asked = self._gate.admit(exchange, whole.content)
            if asked.study is not None:
                self._attendance.asked(asked.request, asked.study.name)
            return _Received(message, run, asked)
        except RunNotRunningException:
            raise
        except Exception as error:  # a gate that fails is closed
            asked = AdmittedRequest(exchange)
            return _Received(message, None, asked, self._gate.stop(error, asked))

    def _check_run(self, run: Run, run_id: int) -> None:
        """Refuse a run of any app but this release's.

        Flower finds the folder of an app by the name and version that the server gives to its run,
        whatever the app itself says, so both are compared too.
        """
        said = (run.fab_id, run.fab_version, run.fab_hash)
        own = (self._app.identifier, self._app.version, self._app.digest)
        expect(said == own, "other_release", _other_release(said, own))
        same = run.run_id == run_id and run.primary_task_type == TaskType.SERVER_APP
        expect(same, "other_release", "another run than was asked for, or one of another kind")

    def verify_fab(self, fab: Fab, trusted_entities: Mapping[str, str]) -> bool:
        """Tell if an app is this release's, by its bytes and not by what the server calls it."""
        digest = hashlib.sha256(fab.content).hexdigest()
        if fab.hash_str == digest == self._app.digest:
            return True
        self._gate.note("other_release", f"the server handed over another app ({digest})", "app")
        return False

    # -- out -----------------------------------------------------------------------------------

    def push_messages(
        self, *, state: Any, object_store: Any, send: Connection, push_object: Connection
    ) -> None:
        """Push as Flower does, but let nothing past the gate.

        Flower's loop takes up the next message after any reply. After one to a message that was
        given up, every reply would be sent only with the next question, when its own has been
        asked again; so what is still open is waited for.
        """
        outlet = partial(_send_whole, send, push_object)
        while True:
            self._push(
                state=self._bell.waits_for_replies(state),
                object_store=object_store,
                send=partial(self._send, object_store, outlet),
                push_object=_no_other_way,
            )
            if not self._open:
                return

    def _send(
        self,
        object_store: Any,
        outlet: Connection,
        message: Message,
        object_tree: ObjectTree,
        seconds: float,
    ) -> tuple[set[str], str]:
        """Inspect a reply and send the gate's own form of it; nothing is left to push."""
        received, content = self._take(message), None
        if received.answer is not None:
            clean = Message(received.answer, reply_to=received.message)
        elif message.has_error():
            error = self._gate.scrubbed(message.error, received.asked.exchange)
            clean = Message(error, reply_to=received.message)
        else:
            content = self._content(message, object_tree, object_store, received.asked)
            content = self._gate.receipted(received.asked, content)
            clean = Message(content, reply_to=received.message)
        outlet(clean, float(round(seconds)))
        if (asked := received.asked).study is not None:
            about = asked.request, asked.study.name
            self._attendance.answered(*about, last=asked.last, content=content)
        return set(), ""

    def _take(self, message: Message) -> _Received:
        """Return the message that this is the first reply to."""
        message_id = message.metadata.reply_to_message_id
        if message_id in self._given_up:
            raise RunNotRunningException
        received = self._open.pop(message_id, None)
        if received is None:
            stopped = StoppedError("second_reply" if message_id in self._answered else "not_asked")
            self._gate.note(stopped.code, stopped.what, message.metadata.message_type)
            raise stopped
        self._answered.add(message_id)
        return received

    def _content(
        self, message: Message, tree: ObjectTree, object_store: Any, asked: AdmittedRequest
    ) -> RecordDict:
        try:
            whole = inflate_object_from_contents(tree.object_id, _parts(tree, object_store))
            if not isinstance(whole, Message) or not whole.has_content():
                raise StoppedError("undecodable", "a reply without content")
        except Exception as error:  # a gate that fails is closed
            return self._gate.stop(error, asked)
        return self._gate.release(asked, whole.content)


def _next(receive: Connection, polled: Callable[[], None]) -> Any:
    """Return the next message, once there is one; say whenever the coordinator was there."""
    pause = _FIRST_PAUSE
    while True:
        asked = time.monotonic()
        if (received := receive()) is not None:
            return received
        polled()
        if time.monotonic() - asked > _HELD_SECONDS:
            pause = _FIRST_PAUSE
        time.sleep(pause)
        pause = min(pause * _LONGER, _LONGEST_PAUSE)


def _fetched(names: list[str], pull: Callable[[str], bytes]) -> dict[str, bytes]:
    return pull_objects(
        names, pull, initial_backoff=_FIRST_PARTS_PAUSE, backoff_cap=_LONGEST_PARTS_PAUSE
    )


def _send_whole(
    connection: Connection, push_object: Connection, message: Message, seconds: float
) -> None:
    """Send a message and its parts over Flower's connection, the one way out."""
    number_message(message, message.object_id)
    with no_object_id_recompute():
        objects = get_all_nested_objects(message)
        wanted, session = connection(message, get_object_tree(message), seconds)
        push = partial(push_object, message.metadata.run_id, session)
        push_objects(objects, push, object_ids_to_push=wanted)


def _parts(tree: ObjectTree, object_store: Any) -> dict[str, bytes]:
    """Return the parts of a reply, once the app has handed all of them over.

    Raises
    ------
    StoppedError : a part was not announced, or did not come in time.
    """
    found: dict[str, bytes] = {}
    deadline = time.monotonic() + _PARTS_SECONDS
    for node in iterate_object_tree(tree):
        while (part := object_store.get(node.object_id)) == b"":
            expect(time.monotonic() < deadline, "incomplete")
            time.sleep(_POLL_SECONDS)
        expect(part is not None, "incomplete")
        found[node.object_id] = part
    return found


def _other_release(said: tuple[str, str, str], own: tuple[str, str, str]) -> str:
    """Return how a run's app differs from this release's: identifier, version, SHA-256."""
    if said[1] == own[1]:
        return (
            f"the coordinator's app calls itself release {own[1]} like the one installed here, and"
            f" is another: {said[0]!r} (SHA-256 {said[2]!r}), not {own[0]} ({own[2]}); call the"
            " coordinator"
        )
    return (
        f"the coordinator runs release {said[1]!r}, and release {own_release()} is installed here;"
        " all of a study run releases that share their first two numbers: install the newest"
        f" release {said[1]!r} here, or the coordinator installs {own[1]} (SHA-256 {said[2]!r},"
        f" {own[2]})"
    )


def _fetch_app(get_fab: Connection, fab_hash: str, run_id: int) -> Fab:
    """Fetch the app, marked so that Flower asks `verify_fab` about it."""
    fab: Fab = get_fab(fab_hash, run_id)
    return Fab(fab.hash_str, fab.content, {"valid_license": "not looked at"})


def _no_other_way(*_: Any) -> None:
    raise StoppedError("extra_content", "something was to leave past the gate")


def command_line(site: Path, settings: SiteSettings) -> list[str]:
    """Return Flower's arguments for this site."""
    deployment = deployment_of(site, settings)
    command = ["flower-supernode", "--superlink", deployment.superlink]
    command += ["--isolation", "process", *loopback_of(settings).of_node(deployment.port)]
    command += ["--node-config", f'site-config="{site.resolve()}"']
    if deployment.insecure:
        return [*command, "--insecure"]
    if deployment.root_certificates:
        command += ["--root-certificates", str(deployment.root_certificates)]
    return [*command, "--auth-supernode-private-key", str(deployment.node_key)]


def main() -> None:
    """Run the SuperNode of the site.toml that is the first argument, until it is stopped."""
    write_for_this_user_alone()
    site = Path(sys.argv[1])
    settings = load_site(site)
    sys.argv = command_line(site, settings)
    leave_the_screen_to_the_site(settings)
    join_arrays_once()
    push_few_at_once()
    with GatedNode(SiteGate(settings, site)).installed():
        end_with_this_thread(flower_supernode)


if __name__ == "__main__":
    main()
