"""Attack (p), continued: a step that is asked again, as a hospital that had answered did not sign.

The others sign another sum under fresh masks, and by this renounce the first. A coordinator that
has all signatures of the first after all, or that shows hospitals different attempts, opens one sum
of the step at most, and no hospital's own update.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import RefusedError, StudyError
from common.masking.step import StepKeys, hide_step, open_step, step_keys
from common.messages.exchanges import TrainRequest
from common.messages.opening import Opening
from server.federation import federation as server_side
from server.federation.federation import Federation
from server.federation.quorum import OpenRounds
from server.progress.screen import describe
from tests.attacks.test_p_quorum import (
    NOTHING,
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
ABOUT = ("dl3d", "final", np.zeros(1, dtype=np.float32), NOTHING)


def gone_from(federation: Federation, site: str, exchange: str) -> None:
    """Let a hospital be away from the first message of an exchange on."""
    grid: Any = federation.grid
    pull, away = grid.pull_messages, set[str]()

    def is_away(about: Any) -> bool:
        named = grid._names[about.dst_node_id] == site
        if named and about.message_type == exchange:
            away.add(site)
        return bool(named and away)

    def without(ids: Iterable[str]) -> Any:
        known = [(i, grid._waiting.get(i)) for i in ids]
        return pull([i for i, one in known if one and not is_away(one.metadata)])

    grid.pull_messages = without


def deaf_once(federation: Federation, sites: str, exchange: str) -> None:
    """Let hospitals never answer the first message of an exchange, and every later one."""
    grid: Any = federation.grid
    pull, lost = grid.pull_messages, dict[str, str]()

    def is_lost(message_id: str, about: Any) -> bool:
        name = grid._names[about.dst_node_id]
        if name not in sites or about.message_type != exchange:
            return False
        return bool(lost.setdefault(name, message_id) == message_id)

    def without(ids: Iterable[str]) -> Any:
        known = [(i, grid._waiting.get(i)) for i in ids]
        return pull([i for i, one in known if one and not is_lost(i, one.metadata)])

    grid.pull_messages = without


def at_attempt(request: TrainRequest, sites: str, attempt: int) -> Opening:
    return replace(request.opening, opened=tuple(sites), attempt=attempt)


@pytest.fixture
def asked_again(federation: Federation) -> tuple[TrainRequest, Any, Any]:
    """A request, and the updates that all hospitals gave in two attempts."""
    request = request_of(federation)
    return request, updates(federation, request), updates(federation, replace(request, attempt=1))


def test_a_round_goes_on_without_a_hospital_that_was_gone_when_it_was_to_sign(
    federation: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others have signed a sum with it, and would have waited for it however long."""
    monkeypatch.setattr(server_side, "SIGN_SECONDS", 0.01)
    gone_from(federation, "e", "query.sign")
    federation.events.listener = (said := []).append
    federation.rounds = OpenRounds(tmp_path / "round.safetensors")
    plan = request_of(federation).plan
    found = federation.train(*ABOUT, plan)
    assert found.present == tuple("abcd")
    assert 0 < abs(found.update.change[0]) <= 5.0
    (noted,) = [event for event in said if event["kind"] == "not_signed"]
    assert "a hospital answered and was gone" in describe(noted)
    # a coordinator that was started again goes on with the attempt that was signed
    federation.number = 0
    again = federation.train(*ABOUT, plan)
    assert (again.present, again.update.change) == (tuple("abcd"), found.update.change)
    # e has signed nothing of this round, and takes part in the next training
    with pytest.raises(RefusedError, match="rule opened"):
        updates(federation, request_of(federation, 1, SITES))


def test_a_round_goes_on_where_fewer_than_a_quorum_have_signed(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sum of few sites, one of which is gone, is given up for one with those that were late."""
    monkeypatch.setattr(server_side, "SIGN_SECONDS", 0.01)
    deaf_once(federation, "bcd", "query.sign")
    gone_from(federation, "e", "query.sign")
    federation.events.listener = (said := []).append
    found = federation.train(*ABOUT, request_of(federation).plan)
    assert found.present == tuple("abcd")
    assert [event["kind"] for event in said].count("not_signed") == 1


def test_who_signs_again_renounces_the_first_sum_even_with_all_its_signatures(
    federation: Federation, asked_again: Any
) -> None:
    request, _, _ = asked_again
    first, second = at_attempt(request, SITES, 0), at_attempt(request, "abcd", 1)
    signatures = signed(federation, first, SITES)
    signed(federation, second, "abcd")
    for site in "abcd":
        with pytest.raises(RefusedError, match="rule opened"):
            keys(federation, first, signatures, site)
        with pytest.raises(RefusedError, match="rule opened"):
            signed(federation, first, site)


def test_who_has_revealed_signs_no_other_attempt(federation: Federation, asked_again: Any) -> None:
    request, sent, _ = asked_again
    opened(federation, at_attempt(request, "abcd", 0), sent)
    for few in (SITES, "abcd", "abc", "cde"):
        for site in set(few) & set("abcd"):
            with pytest.raises(RefusedError, match="rule opened"):
                signed(federation, at_attempt(request, few, 1), [site])


def test_of_one_attempt_there_is_one_sum(federation: Federation, asked_again: Any) -> None:
    request, _, _ = asked_again
    signed(federation, at_attempt(request, "abcd", 1), "abcd")
    for attempt, few in ((1, "abc"), (1, SITES)):
        with pytest.raises(RefusedError, match="rule opened"):
            signed(federation, at_attempt(request, few, attempt), "a")


def test_hospitals_that_are_shown_different_attempts_open_neither(
    federation: Federation, asked_again: Any
) -> None:
    """One of both stays closed, and the update of who had revealed for it stays hidden."""
    request, sent, _ = asked_again
    first, second = at_attempt(request, SITES, 0), at_attempt(request, "bcde", 1)
    signatures = signed(federation, first, SITES)
    revealed = keys(federation, first, signatures, "a")
    again = signed(federation, second, "bcde")
    revealed_again = keys(federation, second, again, "bcde")
    with pytest.raises(RefusedError, match="rule opened"):
        keys(federation, first, signatures, "b")
    # all that was ever revealed of the masks of a: its own of the first, the pairs of the second
    pairs = {site: own.pairs["a"] for site, own in revealed_again.items()}
    context = first.context(federation.run, federation.study.digest())
    guess = {"parameters": sent["a"].copy()}
    open_step(guess, {"a": StepKeys(revealed["a"].own, pairs)}, context)
    true = {"parameters": sent["a"].copy()}
    assert guess["parameters"] != true["parameters"]
    # had the masks of pairs been the same ones, this would be its update
    with pytest.raises(StudyError):
        signed(federation, second, "a")


def test_under_the_same_masks_the_update_of_who_had_revealed_would_be_read() -> None:
    """The variant against which `client.store.openings` argues: one context, two sums."""
    context, name = b"step", "parameters"
    shared = {pair: pair.encode() * 16 for pair in ("ab", "ac", "ad", "bc", "bd", "cd")}
    pairs = {s: {o: shared["".join(sorted(s + o))] for o in "abcd" if o != s} for s in "abcd"}
    made = {site: step_keys(site.encode() * 32, pairs[site], context) for site in "abcd"}
    sent = {name: np.array([41], dtype=np.uint32)}
    hide_step(sent, made["a"], "a", context)
    own = made["a"].revealed("abcd").own  # a opened the sum of all
    others = {site: made[site].revealed("bcd").pairs["a"] for site in "bcd"}  # and they another
    open_step(sent, {"a": StepKeys(own, others)}, context)
    assert sent[name][0] == 41


def test_by_the_word_of_another_hospital_two_sums_would_differ_by_one_update() -> None:
    """A renunciation of k, which sides with the coordinator, that others would have relied on."""
    known = {"a": 5, "b": 7, "h": 11, "k": 13}
    first = sum(known.values())  # k said that it had not revealed, and reveals
    second = known["a"] + known["b"]  # "without k", and without h
    assert first - second - known["k"] == known["h"]
    honest = known["a"] + known["b"] + known["h"]  # without k alone: k's own is all it tells
    assert first - honest == known["k"]


def test_a_sum_of_another_attempt_is_no_answer(federation: Federation, asked_again: Any) -> None:
    """Signatures and keys are of one attempt, and so is the reply that is added."""
    request, sent, sent_again = asked_again
    assert all(sent[site] != sent_again[site] for site in SITES)
    opening = at_attempt(request, "abcd", 1)
    signatures = signed(federation, opening, "abcd")
    with pytest.raises(StudyError):
        keys(federation, at_attempt(request, "abcd", 0), signatures, "a")
    revealed = keys(federation, opening, signatures, "abcd")
    right = taken_off(federation, opening, sent_again, revealed)
    assert 0 < abs(right) <= 5.0
    assert taken_off(federation, opening, sent, revealed) != right
    replies = dict(federation._ask("train.network", {"a": replace(request, attempt=1)}, 60.0))
    assert replies["a"].attempt == 1
