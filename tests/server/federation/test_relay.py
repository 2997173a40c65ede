"""Answers wait for sites that derive the questions, however long these are away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.messages.exchanges import Totals
from server.federation import relay as module
from server.federation.relay import Relay


def totals(number: int, words: int) -> Totals:
    nothing32, nothing16 = np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=np.uint16)
    ring64 = np.full(words, number, dtype=np.uint64)
    return Totals("s", number, ring64, nothing32, nothing16, np.zeros(1, dtype=np.uint64))


@pytest.fixture(params=["in memory", "in a folder"])
def relay(request: pytest.FixtureRequest, tmp_path: Path) -> Relay:
    made = Relay(tmp_path / "relay" if request.param == "in a folder" else None)
    made.wait_for("ab")
    return made


def numbers(relay: Relay, site: str, number: int) -> list[int]:
    found = relay.since(site, number)
    assert all((entry.ring64 == entry.number).all() for entry in found)  # type: ignore[union-attr]
    return [entry.number for entry in found]


def test_a_site_is_told_what_it_has_not_heard(relay: Relay) -> None:
    for number in range(4):
        relay.add(totals(number, 2))
    assert numbers(relay, "a", 3) == [0, 1, 2]
    relay.heard("a", 2)
    assert numbers(relay, "a", 4) == [2, 3]
    assert numbers(relay, "b", 4) == [0, 1, 2, 3]


def test_what_all_have_heard_is_forgotten(relay: Relay, tmp_path: Path) -> None:
    for number in range(4):
        relay.add(totals(number, 2))
    for site in "ab":
        relay.heard(site, 3)
    assert numbers(relay, "a", 4) == [3]
    assert len(list(tmp_path.rglob("entry-*"))) in (0, 1)


def test_a_site_that_was_away_for_long_is_told_in_parts(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 100)
    for number, words in enumerate((5, 5, 20, 5, 5, 5)):
        relay.add(totals(number, words))
    cuts = relay.pieces("a", 6)
    assert cuts == (2, 3, 5)
    parts = []
    for cut in (*cuts, 6):
        parts.append(numbers(relay, "a", cut))
        relay.heard("a", cut)
    assert parts == [[0, 1], [2], [3, 4], [5]]


def test_a_run_that_is_resumed_still_has_them(tmp_path: Path) -> None:
    first = Relay(tmp_path)
    first.wait_for("ab")
    for number in range(3):
        first.add(totals(number, 2))
    again = Relay(tmp_path)
    again.wait_for("ab")
    assert numbers(again, "b", 3) == [0, 1, 2]
