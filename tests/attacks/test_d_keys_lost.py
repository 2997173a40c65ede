"""Attack (d), the spare key: a hospital lost its keys, or somebody says so in its name.

It is let go by the word of the coordinator and of two hospitals that have called it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import InputError, RefusedError
from common.masking import identity
from common.masking.agreement import roster_digest
from common.masking.layout import from_rings
from common.masking.lost_keys import COORDINATOR, LetGoSite
from sim.sites import COORDINATOR as SIMULATED_COORDINATOR
from sim.sites import simulated_identity
from tests.attacks.sums import COLUMNS, MEANS, begun, refused_rules, totals

pytestmark = pytest.mark.usefixtures("server_identity")
NEW = identity.generate()


@pytest.fixture
def request_of_d(everyone: Any) -> LetGoSite:
    """As d makes it in a new folder."""
    roster = everyone.study.roster
    return LetGoSite.sign(NEW, "d", roster["d"], roster_digest(roster))


def confirmed(request: LetGoSite, *sites: str) -> LetGoSite:
    """The request with the word of these; `COORDINATOR` is one of them."""
    for site in sites:
        request = request.confirmed_by(key_of(site), site)
    return request


def the_coordinators() -> Ed25519PrivateKey:
    return simulated_identity(SIMULATED_COORDINATOR)


def key_of(site: str) -> Ed25519PrivateKey:
    return the_coordinators() if site == COORDINATOR else simulated_identity(site)


def expect_refused(coordinator: Any, hospitals: Path, request: LetGoSite) -> None:
    after = coordinator.rehearse(hospitals, left=[request.model_dump()]).federation("refused")
    with pytest.raises(RefusedError, match="refuses: rule participants"):
        after.enrol()
    assert refused_rules(after) == {"participants"}


@pytest.mark.usefixtures("before")
@pytest.mark.parametrize("sites", [(), (COORDINATOR,), (COORDINATOR, "a"), ("a", "b", "c")])
def test_with_fewer_words_than_the_coordinators_and_two_hospitals_it_is_not_let_go(
    coordinator: Any, hospitals: Path, request_of_d: LetGoSite, sites: tuple[str, ...]
) -> None:
    expect_refused(coordinator, hospitals, confirmed(request_of_d, *sites))


@pytest.mark.usefixtures("before")
def test_a_coordinator_that_makes_up_hospitals_opens_nothing(
    coordinator: Any, hospitals: Path, request_of_d: LetGoSite
) -> None:
    """Keys of its own in the names of others, names of its own, and one hospital twice."""
    made_up = confirmed(request_of_d, COORDINATOR, "a")
    made_up = made_up.confirmed_by(identity.generate(), "b")
    made_up = made_up.confirmed_by(identity.generate(), "z")
    made_up = made_up.confirmed_by(simulated_identity("a"), "b")
    made_up = made_up.confirmed_by(the_coordinators(), "c")
    expect_refused(coordinator, hospitals, made_up)


@pytest.mark.usefixtures("before")
def test_the_word_of_the_one_that_asks_does_not_count(
    coordinator: Any, hospitals: Path, request_of_d: LetGoSite
) -> None:
    own = confirmed(request_of_d, COORDINATOR, "a", "d").confirmed_by(NEW, "d")
    expect_refused(coordinator, hospitals, own)


@pytest.mark.usefixtures("before")
def test_confirmations_of_another_request_do_not_hold(
    coordinator: Any, hospitals: Path, everyone: Any, request_of_d: LetGoSite
) -> None:
    """The coordinator asks in d's name, and takes the word that was given of d's own request."""
    true = confirmed(request_of_d, COORDINATOR, "a", "b")
    roster = everyone.study.roster
    forged = LetGoSite.sign(identity.generate(), "d", roster["d"], roster_digest(roster))
    moved = forged.with_confirmations(true.confirmations)
    with pytest.raises(InputError, match="is not one that it signed"):
        coordinator.rehearse(hospitals, left=[moved.model_dump()])


@pytest.mark.parametrize("change", [{"site": "e"}, {"roster": "0" * 64}])
def test_a_request_that_was_changed_is_no_study(
    coordinator: Any, hospitals: Path, request_of_d: LetGoSite, change: dict[str, str]
) -> None:
    changed = confirmed(request_of_d, COORDINATOR, "a", "b").model_copy(update=change)
    with pytest.raises(InputError, match="its request to be let go is not one that it signed"):
        coordinator.rehearse(hospitals, left=[changed.model_dump()])


@pytest.mark.usefixtures("before")
def test_with_another_key_than_the_one_on_record_it_is_nobody(
    coordinator: Any, hospitals: Path, everyone: Any
) -> None:
    other = identity.public_text(identity.generate().public_key())
    request = LetGoSite.sign(NEW, "d", other, roster_digest(everyone.study.roster))
    expect_refused(coordinator, hospitals, confirmed(request, COORDINATOR, "a", "b"))


def test_with_enough_words_the_others_go_on_and_the_difference_is_its_own_numbers(
    coordinator: Any,
    hospitals: Path,
    everyone: Any,
    before: dict[str, Any],
    request_of_d: LetGoSite,
) -> None:
    let_go = confirmed(request_of_d, COORDINATOR, "a", "b")
    after = totals(begun(coordinator.rehearse(hospitals, left=[let_go.model_dump()]), "second"))
    rings = everyone.true_rings("d", MEANS, "first")
    true = dict(from_rings(MEANS.statistic, rings, len(COLUMNS)))
    assert np.array_equal(before["total"] - after["total"], true["total"])


@pytest.mark.usefixtures("before")
def test_it_does_not_come_back_under_its_new_key(
    coordinator: Any, hospitals: Path, everyone: Any, request_of_d: LetGoSite
) -> None:
    let_go = confirmed(request_of_d, COORDINATOR, "a", "b")
    totals(begun(coordinator.rehearse(hospitals, left=[let_go.model_dump()]), "second"))
    *others, d = everyone.study.sites
    renewed = d.model_copy(update={"public_key": identity.public_text(NEW.public_key())})
    again = everyone.study.model_copy(update={"sites": (*others, renewed)})
    federation = coordinator.Rehearsal(again, everyone.sites).federation("third")
    with pytest.raises(RefusedError, match="refuses: rule participants"):
        federation.enrol()
