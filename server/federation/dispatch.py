"""Questions to sites over Flower's grid, repeated where an answer was lost until it has come.

A SuperLink says that a node is offline (the message is gone then), that an app's process died, or
that a message is no more there. It does not say that a SuperNode was killed, or lost its
connection, between taking a message and answering it: so a node that was away since it was asked,
or is silent for much longer than the others, is asked again too. Sites give the same question the
same answer; one whose programs were started again needs new keys first
(`server.federation.restarts`). A study's quorum lets a round go on without it
(`server.federation.quorum`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flwr.app import DEFAULT_TTL, Message, RecordDict
from flwr.serverapp import Grid

from common.errors import SiteError
from common.flower.grid import Replies
from common.flower.internals import ErrorCode
from common.messages.exchanges import answers
from server.progress.events import Events


def is_waited_for(reply: Message, node: int, asked: Mapping[str, int], where: str) -> bool:
    """Tell whether a reply is to a question of this node; a stray changes nothing.

    A stray is to no message of this round, such as one of a run that was resumed since. Errors that
    Flower makes in a node's place have other senders, and pass.

    Parameters
    ----------
    node : the one waited for.
    asked : node by id of all messages of this round.
    where : the site, for people.

    Raises
    ------
    SiteError : the reply is to another node's message of this round, or from another node.
    """
    answered = reply.metadata.reply_to_message_id
    if answered not in asked:
        return False
    if asked[answered] != node:
        raise _refused("a reply to another message of the same round", where)
    if not reply.has_error() and reply.metadata.src_node_id != node:
        raise _refused("a reply from another node than the one asked", where)
    return True


def check_answer(request: Any, reply: Any, site: str) -> None:
    """Return if a reply is this site's, to this request.

    The numbers of a masked sum do not show its site or its question: a wrong one must not come into
    the total.

    Raises
    ------
    SiteError : it is in another site's name, or repeats another session, number or digest.
    """
    if not answers(request, reply, site):
        raise _refused("a reply to another question, or in another site's name", f"site {site}")


def _refused(what: str, where: str) -> SiteError:
    return SiteError(
        what,
        where=where,
        remedy="resume; if it comes again, look for what stands between coordinator and site",
    )


LOST = {
    ErrorCode.MESSAGE_UNAVAILABLE: "the question was lost",
    ErrorCode.REPLY_MESSAGE_UNAVAILABLE: "the reply was lost",
    ErrorCode.NODE_UNAVAILABLE: "not connected",
    ErrorCode.CLIENT_APP_CRASHED: "its app's process ended",
}
MOST_CRASHES = 5
NOTICE_SECONDS, LOOK_SECONDS = 30.0, 5.0
_SHORTEST_PAUSE, _LONGEST_PAUSE, _LONGER = 0.03, 1.0, 1.25
# the SuperLink has held a look for so long, and is asked again at once
_HELD_SECONDS = 0.5
_SHORTEST_BACK_OFF, _LONGEST_BACK_OFF = 1.0, 30.0
# a site is asked again when it takes this many times as long as the slowest that has answered
_SLOWER, _SHORTEST_PATIENCE = 4.0, 60.0
Content = Callable[[], RecordDict]


@dataclass
class Connection:
    """The grid, and late replies: those that may still come, though nobody waits for them.

    Parameters
    ----------
    name : of the site that a node is, for people.
    clock, sleep : as those of `time`.
    """

    grid: Grid
    events: Events
    name: Callable[[int], str]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _late: dict[str, int] = field(default_factory=dict)
    replies: Replies = field(init=False)

    def __post_init__(self) -> None:
        self.replies = Replies(self.grid)

    def nodes(self) -> dict[int, Any]:
        """Return Flower's description of every node that is online, by its id."""
        return {node.node_id: node for node in self.grid.get_nodes()}

    def expect_late(self, message_ids: Collection[str], node: int) -> None:
        """Remember messages of a question that another reply has answered."""
        self._late.update(dict.fromkeys(message_ids, node))

    def late(self) -> list[str]:
        """Return the messages whose replies are taken off the wire without being waited for."""
        return list(self._late)

    def came_late(self, message_id: str, reply: Message) -> None:
        """Say that a reply came which nobody waits for any more."""
        node = self._late.pop(message_id, None)
        if node is not None and not reply.has_error():
            self.events.emit("late_reply", site=self.name(node))


@dataclass
class Enough:
    """Say when an exchange goes on without the nodes that have not answered.

    Parameters
    ----------
    quorum : answers that are enough; an answer may say that all are needed.
    patience : seconds to wait for the others after these.
    """

    quorum: int
    patience: float


@dataclass
class _Pending:
    """A question to one node.

    Parameters
    ----------
    content : makes it; while it is waited for, a large one is not kept in memory.
    since, asked : when it was asked for the first and the last time.
    live : ids of messages that may still be answered.
    activated : when the node was last connected anew, as Flower says it.
    due : when to ask again, where nothing is live.
    """

    content: Content
    since: float
    asked: float = 0.0
    live: list[str] = field(default_factory=list)
    activated: str = ""
    due: float = 0.0
    losses: int = 0
    crashes: int = 0
    repeats: int = 0
    why: str = ""


class Dispatch:
    """One exchange with several nodes.

    Parameters
    ----------
    seconds : the longest wait for all of it.
    """

    def __init__(self, connection: Connection, exchange: str, seconds: float) -> None:
        self._connection, self._exchange, self._seconds = connection, exchange, seconds
        self._began = self._noticed = self._looked = connection.clock()
        self._pause = _SHORTEST_PAUSE
        self._pending: dict[int, _Pending] = {}
        self._asked: dict[str, int] = {}
        self._slowest = 0.0

    @property
    def overdue(self) -> bool:
        """Tell whether the longest wait is over."""
        return self._connection.clock() - self._began > self._seconds

    def ask(self, contents: Mapping[int, Content]) -> None:
        """Ask these nodes; a content that is the same for several is made once."""
        nodes = self._connection.nodes()
        made = {content: content() for content in dict.fromkeys(contents.values())}
        for node, content in contents.items():
            self._pending[node] = _Pending(content, since=self._connection.clock())
        self._push({node: made[content] for node, content in contents.items()}, nodes)

    def replies(self, enough: Enough | None = None) -> Iterator[tuple[int, Message]]:
        """Yield replies by node as they come, one in memory at a time, until all have answered.

        Parameters
        ----------
        enough : when to go on without the others; None = never.

        Raises
        ------
        SiteError : no reply in time, from the wrong node, or an app that dies again and again.
        """
        asked, since = len(self._pending), math.inf
        while self._pending:
            yield from self.poll()
            if enough is not None and asked - len(self._pending) >= enough.quorum:
                since = min(since, self._connection.clock())
                if self._connection.clock() - since >= enough.patience:
                    self._leave_out()
            if self._pending and self.overdue:
                raise self._too_late()
            if self._pending:
                self.wait()

    def _leave_out(self) -> None:
        """Wait for nobody any more; what still comes is late."""
        for node, one in self._pending.items():
            self._connection.expect_late(one.live, node)
        self._pending.clear()

    def poll(self) -> Iterator[tuple[int, Message]]:
        """Yield the replies that are there, by node; an error about a lost one is no reply."""
        connection, began, found = self._connection, self._connection.clock(), False
        live = [message_id for one in self._pending.values() for message_id in one.live]
        for message_id, reply in connection.replies.pull([*live, *connection.late()]):
            found = True
            node = self._asked.get(message_id)
            if node is None or node not in self._pending:
                connection.came_late(message_id, reply)
            elif self._is_answer(node, reply):
                self._pause = _SHORTEST_PAUSE
                yield node, reply
            del reply  # before the next one is looked for
        if not found and connection.clock() - began > _HELD_SECONDS:
            self._pause = _SHORTEST_PAUSE

    def wait(self, missing: Collection[str] = ()) -> None:
        """Let a little time pass; say who is waited for, and ask again who may have lost it.

        Parameters
        ----------
        missing : who is waited for besides those asked.
        """
        now = self._connection.clock()
        if now - self._noticed >= NOTICE_SECONDS:
            self._noticed = now
            self._notice(missing)
        if now - self._looked >= LOOK_SECONDS or any(
            self._is_due(o) for o in self._pending.values()
        ):
            self._looked = now
            self._ask_again()
        self._connection.sleep(self._pause)
        self._pause = min(_LONGER * self._pause, _LONGEST_PAUSE)

    # -- one node -------------------------------------------------------------------------------

    def _push(self, contents: Mapping[int, RecordDict], nodes: Mapping[int, Any]) -> None:
        """Send a question; a site's clock may be wrong, so it stays good for longer than needed.

        What goes to several nodes is sent together: Flower then looks through it one time.
        """
        ttl = self._seconds + DEFAULT_TTL
        messages = [
            Message(content, node, self._exchange, ttl=ttl) for node, content in contents.items()
        ]
        for node in contents:
            if node in nodes:
                self._pending[node].activated = nodes[node].last_activated_at
        # by their ids and not their places: what is not taken may be missing, None or empty
        taken = set(self._connection.grid.push_messages(messages))
        for node, message in zip(contents, messages, strict=True):
            one, message_id = self._pending[node], message.metadata.message_id
            one.asked = self._connection.clock()
            if message_id and message_id in taken:
                one.live.append(message_id)
                self._asked[message_id] = node
            else:
                self._postpone(one, "not taken by the SuperLink")

    def _is_answer(self, node: int, reply: Message) -> bool:
        """Tell if a reply is what this node is waited for; note what else it means."""
        site = self._connection.name(node)
        if not is_waited_for(reply, node, self._asked, f"site {site}"):
            self._connection.events.emit("stray_reply", site=site)
        elif reply.has_error() and reply.error.code in LOST:
            self._lose(node, reply)
        else:
            self._close(node, reply.metadata.reply_to_message_id)
            return True
        return False

    def _close(self, node: int, answered: str) -> None:
        one = self._pending.pop(node)
        self._slowest = max(self._slowest, self._connection.clock() - one.since)
        self._connection.expect_late([i for i in one.live if i != answered], node)

    def _lose(self, node: int, reply: Message) -> None:
        """Note that a message is gone; repeat the question unless another one stands for it."""
        one, code = self._pending[node], reply.error.code
        one.live = [i for i in one.live if i != reply.metadata.reply_to_message_id]
        one.crashes += code == ErrorCode.CLIENT_APP_CRASHED
        if one.crashes >= MOST_CRASHES:
            raise SiteError(
                f"its app's process ended {one.crashes} times while it answered",
                where=f"site {self._connection.name(node)}",
                remedy="see that the site has memory enough and look at its log, then resume",
            )
        if not one.live:
            self._postpone(one, LOST[code])
        self._tell("lost", node, why=LOST[code])

    def _postpone(self, one: _Pending, why: str) -> None:
        one.why = why
        one.losses += 1
        back_off = min(_SHORTEST_BACK_OFF * 2.0 ** (one.losses - 1), _LONGEST_BACK_OFF)
        one.due = self._connection.clock() + back_off

    def _is_due(self, one: _Pending) -> bool:
        return not one.live and self._connection.clock() >= one.due

    # -- asking again ---------------------------------------------------------------------------

    def _ask_again(self) -> None:
        nodes = self._connection.nodes()
        for node, one in self._pending.items():
            if node not in nodes:
                one.why = "not connected"
                if not one.live:  # one look every few seconds, until it is back
                    one.due = self._connection.clock() + LOOK_SECONDS
            elif self._is_due(one):
                self._repeat(node, nodes, one.why)
            elif one.live and nodes[node].last_activated_at != one.activated:
                self._repeat(node, nodes, "it was away")
            elif one.live and self._is_silent(one):
                one.repeats += 1
                self._repeat(node, nodes, "no reply")

    def _is_silent(self, one: _Pending) -> bool:
        patience = self._seconds / 8
        if self._slowest:
            usual = max(_SLOWER * self._slowest, _SHORTEST_PATIENCE)
            patience = min(patience, usual)
        return self._connection.clock() - one.asked > max(patience, LOOK_SECONDS) * 2.0**one.repeats

    def _repeat(self, node: int, nodes: Mapping[int, Any], why: str) -> None:
        self._pending[node].why = ""
        self._push({node: self._pending[node].content()}, nodes)
        self._tell("asked_again", node, why=why)

    # -- progress -------------------------------------------------------------------------------

    def _notice(self, missing: Collection[str]) -> None:
        now = self._connection.clock()
        sites = [
            {"site": self._connection.name(node), "seconds": round(now - one.since), "why": one.why}
            for node, one in self._pending.items()
        ]
        known = {one["site"] for one in sites}
        sites += [
            {"site": name, "seconds": round(now - self._began), "why": "never seen"}
            for name in missing
            if name not in known
        ]
        self._connection.events.emit("waiting", exchange=self._exchange, sites=sites)

    def _tell(self, kind: str, node: int, *, why: str) -> None:
        site = self._connection.name(node)
        self._connection.events.emit(kind, site=site, exchange=self._exchange, why=why)

    def _too_late(self) -> SiteError:
        names = {self._connection.name(node): one.why for node, one in self._pending.items()}
        reasons = "; ".join(f"{name}: {why}" for name, why in names.items() if why)
        return SiteError(
            f"no reply in time{f' ({reasons})' if reasons else ''}",
            where=f"site{'s' * (len(names) > 1)} {', '.join(names)}",
            remedy="see that the site is running and connected, then resume",
        )
