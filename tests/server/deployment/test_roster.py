"""The signed roster of a coordinator."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from common.errors import InputError, SignatureError
from common.masking import identity
from common.messages.joining import JoinRequest
from server.deployment.folder import CoordinatorFolder
from server.deployment.roster import Roster, enrol, expel, read_roster

Joiner = Callable[[str], JoinRequest]


def roster_of(folder: CoordinatorFolder) -> Roster:
    return read_roster(folder.roster, identity.load(folder.identity).private.public_key())


def request_under(name: str, node: ec.EllipticCurvePrivateKey | None = None) -> JoinRequest:
    """A request with a new identity, and with a new node's key or this one."""
    key = node or ec.generate_private_key(ec.SECP384R1())
    return JoinRequest.make(name, identity.generate(), key)


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
    enrol(folder, request_of("a"), replace=False)
    renamed = request_under("a")
    with pytest.raises(InputError, match="--replace"):
        enrol(folder, renamed, replace=False)
    enrol(folder, renamed, replace=True)
    assert roster_of(folder).identity_keys == {"a": renamed.identity_key}


def test_two_sites_cannot_share_a_key(folder: CoordinatorFolder) -> None:
    node = ec.generate_private_key(ec.SECP384R1())
    first, second = request_under("a", node), request_under("b", node)
    enrol(folder, first, replace=False)
    with pytest.raises(InputError, match="a key of site a"):
        enrol(folder, second, replace=False)
    # the same key to Flower, which would then call the node of a by the name of b
    remarked = second.model_copy(update={"node_key": f"{first.node_key.strip()} b@b"})
    with pytest.raises(InputError, match="a key of site a"):
        roster_of(folder).with_site(remarked, replace=False)


def test_the_key_of_another_hospitals_node_is_not_enrolled(
    folder: CoordinatorFolder, request_of: Joiner
) -> None:
    """The other one has not joined yet, and could not after this."""
    own, seen = identity.generate(), request_of("a")
    key = identity.public_text(own.public_key())
    stolen = seen.model_copy(update={"site": "b", "identity_key": key}).signed_by(own)
    with pytest.raises(SignatureError, match="does not have the key of the node"):
        enrol(folder, stolen, replace=False)
    assert not folder.roster.exists()


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
