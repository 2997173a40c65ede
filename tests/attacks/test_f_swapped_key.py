"""Attack (f): the coordinator puts keys of its own in the place of other sites' keys."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

import client.store.masks
from common.errors import SignatureError, SiteError
from common.ledger.entry import request_digest
from common.masking.agreement import SignedKey, announce, pair_secrets, roster_digest
from common.masking.fixed_point import from_text
from common.masking.pairwise import mask_context, mask_vector
from common.messages.exchanges import Problem, SumItem, SumReply, SumRequest
from common.statistics.moments import Means
from common.transforms import Select
from common.transforms.views import table
from server.phases.plausible import Plausibility
from sim.sites import simulated_identity

pytestmark = pytest.mark.usefixtures("server_identity")
VICTIM = "a"
ITEM = SumItem(Means(), table("clinical").then(Select(columns=("marker", "stage"))), "train")


def opened(keys: Any) -> dict[str, X25519PublicKey]:
    """The ephemeral keys, whoever signed them."""
    raw = {key.site: from_text(key.public_key, 32) for key in keys}
    return {site: X25519PublicKey.from_public_bytes(key) for site, key in raw.items()}


class Swapper:
    """Swaps the keys of all but the victim, in what the victim is sent."""

    def __init__(self, rehearsal: Any, forge: Callable[[SignedKey], tuple[Any, SignedKey]]) -> None:
        self.rehearsal, self.forge = rehearsal, forge
        self.private: dict[str, X25519PrivateKey] = {}
        self.keys: tuple[SignedKey, ...] = ()

    def __call__(self, site: str, request: Any) -> Any:
        if site != VICTIM or not isinstance(request, SumRequest):
            return request
        self.keys = tuple(self.swapped(key) for key in request.keys)
        return dataclasses.replace(request, keys=self.keys)

    def swapped(self, key: SignedKey) -> SignedKey:
        if key.site == VICTIM:
            return key
        self.private[key.site], forged = self.forge(key)
        return forged

    def unmasked(self, heard: Any) -> Any:
        """The victim's 64-bit vector, from its reply and the coordinator's own private keys."""
        study, request = self.rehearsal.study, heard.request
        roster = roster_digest(study.roster)
        public = opened(self.keys)
        shared = {
            site: pair_secrets(private, site, public, request.run, roster)[VICTIM]
            for site, private in self.private.items()
        }
        exchange = f"{request.session}/{request.number}"
        item = request.items[0]
        asked = request_digest(item.digest)  # of a table that no run made
        context = mask_context(request.run, exchange, asked, "ring64", study.members("train"))
        mask = mask_vector(np.zeros_like(heard.reply.ring64), shared, VICTIM, context)
        return heard.reply.ring64 - mask


def with_the_old_signature(key: SignedKey) -> tuple[Any, SignedKey]:
    private, own = signed_by_the_coordinator(key)
    return private, dataclasses.replace(own, signature=key.signature)


def signed_by_the_coordinator(key: SignedKey) -> tuple[Any, SignedKey]:
    stranger = simulated_identity("x")
    return announce(stranger, key.site, key.run, key.study, key.roster, key.session)


def signed_for_another_run(key: SignedKey) -> tuple[Any, SignedKey]:
    """The site's own signature, from a run whose ephemeral keys have come out since."""
    own = simulated_identity(key.site)
    return announce(own, key.site, "before", key.study, key.roster, key.session)


FORGERIES = (with_the_old_signature, signed_by_the_coordinator, signed_for_another_run)


def ask(coordinator: Any, folder: Path, forge: Any) -> tuple[Any, Swapper, Any]:
    rehearsal = coordinator.rehearse(folder)
    federation = rehearsal.federation()
    federation.enrol()
    swapper = Swapper(rehearsal, forge)
    federation.grid.ask = swapper
    return federation, swapper, rehearsal


@pytest.mark.parametrize("forge", FORGERIES)
def test_a_site_that_is_handed_swapped_keys_sends_no_sum(
    coordinator: Any, tabular: Path, forge: Any
) -> None:
    federation, _, rehearsal = ask(coordinator, tabular, forge)
    with pytest.raises(SiteError, match=r"site a: cannot go on \(keys"):
        federation.sum_many([ITEM])
    said = [heard.reply for heard in federation.grid.heard if heard.kind == "query.sum"]
    assert [type(reply) for reply in said] == [Problem]
    log = rehearsal.workspace("a").settings.work / "errors.log"
    assert "SignatureError: site b" in log.read_text(encoding="utf-8")


@pytest.mark.parametrize("forge", FORGERIES)
def test_without_the_check_the_coordinator_reads_the_sites_sum(
    coordinator: Any, tabular: Path, monkeypatch: pytest.MonkeyPatch, forge: Any
) -> None:
    monkeypatch.setattr(client.store.masks, "check_roster", lambda keys, *agreed: opened(keys))
    for check in ("check_sum", "check_result"):  # the coordinator's own
        monkeypatch.setattr(Plausibility, check, lambda *_: None)
    federation, swapper, rehearsal = ask(coordinator, tabular, forge)
    federation.sum_many([ITEM])
    (heard,) = [h for h in federation.grid.heard if h.kind == "query.sum" and h.site == VICTIM]
    assert isinstance(heard.reply, SumReply)
    true = rehearsal.true_rings(VICTIM, ITEM).ring64
    assert not (heard.reply.ring64 == true).any()
    assert np.array_equal(swapper.unmasked(heard), true)


def test_a_key_swapped_on_its_way_to_the_coordinator_stops_the_enrolment(
    coordinator: Any, tabular: Path
) -> None:
    federation = coordinator.rehearse(tabular).federation()

    def on_the_way(site: str, reply: Any) -> Any:
        if site != "b":
            return reply
        return dataclasses.replace(reply, key=signed_by_the_coordinator(reply.key)[1])

    federation.grid.hand_on = on_the_way
    with pytest.raises(SignatureError, match="site b: its ephemeral key is not the one it signed"):
        federation.enrol()
