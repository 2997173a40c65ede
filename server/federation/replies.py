"""Check that a reply is the one waited for: to this message, from this node, to this question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flwr.app import Message

from common.errors import SiteError
from common.messages.exchanges import answers


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
