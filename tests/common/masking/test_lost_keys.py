"""Request of a hospital that lost its keys, and whose word it takes."""

from __future__ import annotations

import pytest

from common.errors import InputError, SignatureError
from common.masking import identity
from common.masking.lost_keys import COORDINATOR, LetGoSite, check_confirmable

KEYS = {name: identity.generate() for name in ("a", "b", "c", "d", COORDINATOR, "new")}
PUBLIC = {name: identity.public_text(key.public_key()) for name, key in KEYS.items()}
ROSTER = {name: PUBLIC[name] for name in "abcd"}
REQUEST = LetGoSite.sign(KEYS["new"], "d", PUBLIC["d"], "0" * 64)


def confirmed(*names: str) -> LetGoSite:
    request = REQUEST
    for name in names:
        request = request.confirmed_by(KEYS[name], name)
    return request


@pytest.mark.parametrize(
    ("names", "enough"),
    [
        ((), False),
        (("a", "b", "c"), False),
        ((COORDINATOR, "a"), False),
        ((COORDINATOR, "a", "a"), False),
        ((COORDINATOR, "a", "d"), False),
        ((COORDINATOR, "a", "new"), False),
        ((COORDINATOR, "a", "b"), True),
        (("b", COORDINATOR, "c"), True),
    ],
)
def test_it_takes_the_coordinator_and_two_other_hospitals(
    names: tuple[str, ...], enough: bool
) -> None:
    request = confirmed(*names)
    request.verify()
    assert request.enough(ROSTER, PUBLIC[COORDINATOR]) == enough


def test_without_a_coordinators_key_nothing_is_enough() -> None:
    assert not confirmed(COORDINATOR, "a", "b").enough(ROSTER, "")


def test_a_coordinator_does_not_count_as_a_hospital_besides() -> None:
    """It has put itself on the roster."""
    roster = {**ROSTER, "z": PUBLIC[COORDINATOR]}
    request = confirmed(COORDINATOR, "a").confirmed_by(KEYS[COORDINATOR], "z")
    assert not request.enough(roster, PUBLIC[COORDINATOR])


@pytest.mark.parametrize("change", [{"site": "c"}, {"roster": "1" * 64}, {"public_key": "x"}])
def test_no_word_of_it_can_be_changed(change: dict[str, str]) -> None:
    with pytest.raises(SignatureError, match="its request to be let go is not one that it signed"):
        REQUEST.model_copy(update=change).verify()


def test_a_confirmation_is_of_one_request_alone() -> None:
    other = LetGoSite.sign(identity.generate(), "d", PUBLIC["d"], "0" * 64)
    moved = other.with_confirmations(confirmed("a").confirmations)
    with pytest.raises(SignatureError, match="the confirmation of a is not one that it signed"):
        moved.verify()


def test_nobody_confirms_for_itself() -> None:
    with pytest.raises(InputError, match="cannot confirm its own new key"):
        check_confirmable(REQUEST, "d")
    check_confirmable(REQUEST, "a")
