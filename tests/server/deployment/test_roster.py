"""The signed roster of a coordinator."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from common.errors import InputError, SignatureError
from common.masking import identity
from common.messages.joining import JoinRequest
from server.deployment.folder import CoordinatorFolder
from server.deployment.roster import Roster, enrol, expel, read_roster

Joiner = Callable[[str], JoinRequest]


def roster_of(folder: CoordinatorFolder) -> Roster:
    return read_roster(folder.roster, identity.load(folder.identity).private.public_key())


def test_sites_stand_in_the_order_in_which_they_joined(
    folder: CoordinatorFolder, request_of: Joiner
) -> None:
    for name in ("b", "a"):
        enrol(folder, request_of(name), replace=False)
    assert [entry.site for entry in roster_of(folder).sites] == ["b", "a"]


def test_a_roster_that_somebody_else_changed_is_refused(
    folder: CoordinatorFolder, request_of: Joiner
) -> None:
    enrol(folder, request_of("a"), replace=False)
    tree = json.loads(folder.roster.read_text(encoding="utf-8"))
    tree["sites"] = []
    folder.roster.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(SignatureError, match="changed by somebody else"):
        roster_of(folder)


def test_a_site_enrols_twice_with_the_same_keys_without_effect(
    folder: CoordinatorFolder, request_of: Joiner
) -> None:
    request = request_of("a")
    enrol(folder, request, replace=False)
    enrol(folder, request, replace=False)
    assert len(roster_of(folder).sites) == 1


def test_new_keys_under_an_old_name_must_be_meant(
    folder: CoordinatorFolder, request_of: Joiner
) -> None:
    first, second = request_of("a"), request_of("b")
    enrol(folder, first, replace=False)
    own = identity.generate()
    renamed = JoinRequest(
        site="a",
        identity_key=identity.public_text(own.public_key()),
        node_key=second.node_key,
    ).signed_by(own)
    with pytest.raises(InputError, match="--replace"):
        enrol(folder, renamed, replace=False)
    enrol(folder, renamed, replace=True)
    assert roster_of(folder).identity_keys == {"a": renamed.identity_key}


def test_two_sites_cannot_share_a_key(folder: CoordinatorFolder, request_of: Joiner) -> None:
    first = request_of("a")
    enrol(folder, first, replace=False)
    own = identity.generate()
    thief = JoinRequest(
        site="b", identity_key=identity.public_text(own.public_key()), node_key=first.node_key
    ).signed_by(own)
    with pytest.raises(InputError, match="a key of site a"):
        enrol(folder, thief, replace=False)
    # the same key to Flower, which would then call the node of a by the name of b
    remarked = thief.model_copy(update={"node_key": f"{first.node_key.strip()} b@b"}).signed_by(own)
    with pytest.raises(InputError, match="a key of site a"):
        enrol(folder, remarked, replace=False)


def test_a_request_that_somebody_changed_on_its_way_is_refused(
    folder: CoordinatorFolder, request_of: Joiner
) -> None:
    forged = request_of("a").model_copy(update={"node_key": request_of("b").node_key})
    with pytest.raises(SignatureError, match="request to join"):
        enrol(folder, forged, replace=False)
    assert not folder.roster.exists()


def test_a_site_is_taken_off(folder: CoordinatorFolder, request_of: Joiner) -> None:
    enrol(folder, request_of("a"), replace=False)
    expel(folder, "a")
    assert roster_of(folder).sites == ()
    with pytest.raises(InputError, match="no site a is enrolled"):
        expel(folder, "a")


def test_of_commands_at_once_none_is_lost(folder: CoordinatorFolder, request_of: Joiner) -> None:
    requests = [request_of(name) for name in "abcdefgh"]
    with ThreadPoolExecutor(len(requests)) as commands:
        list(commands.map(lambda request: enrol(folder, request, replace=False), requests))
    assert {entry.site for entry in roster_of(folder).sites} == {*"abcdefgh"}
