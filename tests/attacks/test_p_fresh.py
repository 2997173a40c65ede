"""Attack (p), continued: the same update asked for twice, to open two sums that hold it.

A hospital answers a round again under other keys or under another number. What it signed once, and
the masks that it revealed, serve neither.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from common.errors import RefusedError, StudyError
from common.messages.exchanges import TrainRequest
from server.federation.federation import Federation
from tests.attacks.test_p_quorum import (
    SITES,
    federation,
    keys,
    one_number,
    opened,
    request_of,
    signed,
    taken_off,
    updates,
)

__all__ = ["federation", "one_number"]
pytestmark = pytest.mark.usefixtures("server_identity", "declares_dl3d", "one_number")


def again(federation: Federation, request: TrainRequest, other: str) -> TrainRequest:
    """Return the same round under new keys of all sites, or under another number."""
    if other == "number":
        return replace(request, number=5)
    federation.enrol_anew("a")
    return replace(request, session=federation.session, keys=federation._keys())


@pytest.mark.parametrize("other", ["keys", "number"])
def test_a_round_asked_twice_opens_for_one_set_under_one_of_both(
    federation: Federation, other: str
) -> None:
    """The update is the same, the masks are others: two sums would differ by one site."""
    first = request_of(federation)
    sent = updates(federation, first)
    second = again(federation, first, other)
    sent_again = updates(federation, second)
    assert all(sent[site] != sent_again[site] for site in SITES)
    whole = replace(first.opening, opened=tuple(SITES))
    opened(federation, whole, sent)
    for few in ("abcd", "cde", SITES):
        opening = replace(second.opening, opened=tuple(few))
        for site in few:
            with pytest.raises(RefusedError, match="rule opened"):
                signed(federation, opening, [site])


@pytest.mark.parametrize("other", ["keys", "number"])
def test_signatures_and_masks_of_one_context_serve_no_other(
    federation: Federation, other: str
) -> None:
    first = request_of(federation)
    sent = updates(federation, first)
    second = again(federation, first, other)
    sent_again = updates(federation, second)
    opening = replace(first.opening, opened=tuple("abcd"))
    signatures = signed(federation, opening, "abcd")
    revealed = keys(federation, opening, signatures, "abcd")
    elsewhere = replace(second.opening, opened=opening.opened)
    for site in "abcd":
        with pytest.raises(StudyError):
            keys(federation, elsewhere, signatures, [site])
    total = taken_off(federation, opening, sent, revealed)
    for context in (opening, elsewhere):
        assert taken_off(federation, context, sent_again, revealed) != total


def test_no_update_comes_under_the_masks_of_pairs_alone(federation: Federation) -> None:
    """Without its own mask an update could be read once the masks that it shares are revealed."""
    request = request_of(federation)
    alone = replace(request, plan=replace(request.plan, invited=()))
    for keep in (False, True):
        asked = replace(alone, plan=replace(alone.plan, keep=keep))
        with pytest.raises(RefusedError, match="rule update"):
            updates_of(federation, asked)
    look = replace(alone, plan=replace(alone.plan, epochs=0))
    assert all(update.size == 0 for update in updates_of(federation, look).values())


def updates_of(federation: Federation, request: TrainRequest) -> dict[str, Any]:
    asked = dict.fromkeys(SITES, request)
    replies = federation._ask("train.network", asked, 60.0)
    return {site: reply.parameters for site, reply in replies}
