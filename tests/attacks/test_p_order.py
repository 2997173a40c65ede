"""Attack (p), continued: a hospital is handed questions in another order than they were asked in.

The SuperLink promises none. What comes late is not answered, changes nothing of the round under
way, and lets nobody open a second sum.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client.gate.standing import read_standing
from client.store.order import note_round
from client.store.site_db import site_db
from client.training import round as site_round
from common.errors import RefusedError, SiteError
from common.ledger.verify import read_entries
from common.messages.exchanges import TrainRequest
from server.federation.federation import Federation
from tests.attacks.test_p_quorum import (
    SITES,
    answers,
    crops_of,
    federation,
    one_number,
    opened,
    request_of,
    updates,
    works,
)

__all__ = ["federation", "one_number", "works"]
pytestmark = pytest.mark.usefixtures("server_identity", "declares_dl3d", "one_number")


def ask(federation: Federation, request: TrainRequest, sites: str) -> dict[str, Any]:
    replies = answers(federation, "train.network", dict.fromkeys(sites, request))
    return {site: reply.parameters for site, reply in replies.items()}


@pytest.fixture
def late(federation: Federation) -> TrainRequest:
    """A round that went on without e."""
    request = request_of(federation, variant="fold0")
    opened(
        federation, replace(request.opening, opened=tuple("abcd")), ask(federation, request, "abcd")
    )
    return request


@pytest.fixture
def now(federation: Federation) -> TrainRequest:
    """The first round of the next training."""
    return replace(request_of(federation, variant="fold1"), number=1)


def test_a_round_that_comes_late_is_not_answered_and_the_round_under_way_opens(
    federation: Federation, late: TrainRequest, now: TrainRequest, works: dict[str, Path]
) -> None:
    sent = updates(federation, now)
    for _ in range(2):
        with pytest.raises(SiteError, match="answers no older one") as told:
            ask(federation, late, "e")
    assert "run --new" in str(told.value)
    opened(federation, replace(now.opening, opened=tuple("bcde")), sent)
    entries = [one for one in read_entries(works["e"] / "ledger.jsonl") if "train" in one.exchange]
    assert [one.decision for one in entries] == ["released", "stopped", "stopped"]
    assert read_standing(works["e"]).needs == ()  # nobody at the hospital has to do anything


@pytest.mark.parametrize("change", [{"number": 1}, {"number": 2}, {"session": "s", "number": 2}])
def test_a_round_that_went_on_without_a_hospital_is_never_asked_anew_for_its_update(
    federation: Federation, late: TrainRequest, now: TrainRequest, change: dict[str, Any]
) -> None:
    """Under a newer number it is answered under fresh masks, and no second sum of it opens."""
    updates(federation, now)
    again = replace(late, **change)
    with pytest.raises((SiteError, RefusedError)):
        opened(
            federation, replace(again.opening, opened=tuple(SITES)), ask(federation, again, SITES)
        )


def test_a_training_that_is_overtaken_while_it_goes_on_takes_no_keys(
    federation: Federation,
    late: TrainRequest,
    now: TrainRequest,
    works: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def meanwhile(*about: Any) -> Any:
        note_round(works["e"], now)
        return crops_of(*about)

    monkeypatch.setattr(site_round, "crops_of", meanwhile)
    with pytest.raises(SiteError, match="answers no older one"):
        ask(federation, late, "e")
    context = late.opening.context(federation.run, late.study)
    about = (late.study, federation.run, late.opening.step, context.hex())
    assert site_db(works["e"]).step_keys(*about) is None
