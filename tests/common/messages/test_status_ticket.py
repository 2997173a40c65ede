"""A ticket is good for one hospital, one coordinator, a minute, and once."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.masking import identity
from common.messages import status_ticket
from common.messages.status_ticket import (
    HEADER,
    HOLDS_SECONDS,
    MOST_TICKETS,
    Doorkeeper,
    StatusTicket,
)

OWN, NORTH, SOUTH = identity.generate(), identity.generate(), identity.generate()
COORDINATOR = identity.public_text(OWN.public_key())
KEYS = {
    "north": identity.public_text(NORTH.public_key()),
    "south": identity.public_text(SOUTH.public_key()),
}


class Clock:
    now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the hospital, and of the coordinator."""
    made = Clock()
    monkeypatch.setattr(status_ticket.time, "time", made)
    return made


@pytest.fixture
def keeper(clock: Clock, tmp_path: Path) -> Doorkeeper:
    return Doorkeeper(COORDINATOR, lambda: KEYS, tmp_path / "tickets.json", clock)


def ticket(private: Any = NORTH, site: str = "north", coordinator: str = COORDINATOR) -> str:
    return StatusTicket.sign(private, site, coordinator).header()


def test_an_enrolled_hospital_is_let_in_by_its_own_key(keeper: Doorkeeper) -> None:
    assert keeper.admit(ticket()) == "north"
    assert keeper.admit(ticket(SOUTH, "south")) == "south"


def test_the_header_has_the_form_that_the_proxy_lets_through() -> None:
    assert re.match(HEADER, ticket(site="n" * 64))
    assert not re.match(HEADER, "Basic bm9ydGg6cGFzc3dvcmQ=")


def test_a_ticket_is_taken_once_also_by_a_coordinator_that_was_started_again(
    keeper: Doorkeeper, clock: Clock, tmp_path: Path
) -> None:
    captured = ticket()
    assert keeper.admit(captured) == "north"
    for _ in range(2 * HOLDS_SECONDS + 10):
        clock.now += 1.0
        again = Doorkeeper(COORDINATOR, lambda: KEYS, tmp_path / "tickets.json", clock)
        assert keeper.admit(captured) is None
        assert again.admit(captured) is None


@pytest.mark.parametrize("later", [-HOLDS_SECONDS - 2.0, HOLDS_SECONDS + 2.0, 86400.0])
def test_a_ticket_holds_for_a_minute(keeper: Doorkeeper, clock: Clock, later: float) -> None:
    captured = ticket()
    clock.now += later
    assert keeper.admit(captured) is None


@pytest.mark.parametrize("ahead", [-HOLDS_SECONDS + 2, HOLDS_SECONDS - 2])
def test_a_ticket_of_a_clock_that_differs_is_not_taken_twice(
    keeper: Doorkeeper, clock: Clock, ahead: float
) -> None:
    captured = ticket()
    clock.now -= ahead
    assert keeper.admit(captured) == "north"
    for _ in range(30):
        clock.now += HOLDS_SECONDS / 10
        assert keeper.admit(captured) is None


def test_a_ticket_is_not_taken_again_while_it_expires(clock: Clock, tmp_path: Path) -> None:
    """The clock goes on between two looks at it, past the last moment of the ticket."""
    captured, first, last = ticket(), clock.now - HOLDS_SECONDS, clock.now + HOLDS_SECONDS
    times = iter([first, first, last, *[last + 1e-3] * 5])
    keeper = Doorkeeper(COORDINATOR, lambda: KEYS, tmp_path / "taken", lambda: next(times))
    assert [keeper.admit(captured) for _ in range(4)] == ["north", None, None, None]


@pytest.mark.parametrize(
    "made",
    [
        lambda: ticket(SOUTH, "north"),
        lambda: ticket(OWN, "north"),
        lambda: ticket(NORTH, "stranger"),
        lambda: ticket(identity.generate(), "stranger"),
        lambda: ticket(coordinator=KEYS["south"]),
        lambda: f"Basic {ticket().partition(' ')[2]}",
        lambda: ticket().partition(" ")[2],
        lambda: f"{ticket()} {ticket()}",
    ],
    ids=["another's", "coordinator's", "name", "stranger's", "hub", "scheme", "bare", "two"],
)
def test_anybody_else_is_kept_out(keeper: Doorkeeper, made: Any) -> None:
    assert keeper.admit(made()) is None


@pytest.mark.parametrize(
    "change",
    [
        {"site": "south"},
        {"time": 1_790_000_030},
        {"nonce": "0" * 32},
        {"coordinator_key": ""},
        {"signature": ""},
        {"more": "x"},
        {"time": "1790000000"},
        {"time": 1_790_000_000.0},
        {"nonce": None},
    ],
)
def test_a_changed_ticket_is_worth_nothing(keeper: Doorkeeper, change: dict[str, Any]) -> None:
    fields = json.loads(base64.urlsafe_b64decode(ticket().partition(" ")[2]))
    text = base64.urlsafe_b64encode(json.dumps(fields | change).encode()).decode()
    assert keeper.admit(f"Fedlnm {text}") is None


@given(st.one_of(st.text(max_size=200), st.binary(max_size=200)))
def test_whatever_comes_is_answered_and_never_let_in(content: str | bytes) -> None:
    keeper = Doorkeeper(COORDINATOR, lambda: KEYS, Path("nothing is taken"))
    if isinstance(content, bytes):
        content = base64.urlsafe_b64encode(content).decode()
    assert keeper.admit(f"Fedlnm {content}") is None
    assert keeper.admit(content) is None


def test_strangers_fill_no_memory_and_one_hospital_does_not_ask_without_end(
    keeper: Doorkeeper, clock: Clock
) -> None:
    for _ in range(50):
        keeper.admit(ticket(SOUTH, "north"))
        keeper.admit(ticket(identity.generate(), "stranger"))
    assert not keeper._taken
    admitted = sum(keeper.admit(ticket()) is not None for _ in range(MOST_TICKETS + 20))
    assert admitted == MOST_TICKETS
    assert keeper.admit(ticket(SOUTH, "south")) == "south"
    clock.now += 2 * HOLDS_SECONDS + 1
    assert keeper.admit(ticket()) == "north"
    assert len(keeper._taken["north"]) == 1


def test_a_hospital_that_was_taken_off_the_roster_is_kept_out_at_once(
    clock: Clock, tmp_path: Path
) -> None:
    keys = dict(KEYS)
    keeper = Doorkeeper(COORDINATOR, lambda: keys, tmp_path / "tickets.json", clock)
    assert keeper.admit(ticket()) == "north"
    del keys["north"]
    assert keeper.admit(ticket()) is None
