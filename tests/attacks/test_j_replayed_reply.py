"""Attack (j): a reply comes again, or in another's place, or one question is asked twice."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.store.masks import RunMasks
from common.errors import SiteError
from common.ledger.audit import audit
from common.masking.update import Update
from common.messages.exchanges import Problem, RoundPlan, SumItem, SumRequest
from common.statistics.moments import CentredSquares, Means
from common.transforms import Select
from common.transforms.views import table
from server.phases.plausible import Plausibility

pytestmark = pytest.mark.usefixtures("server_identity")
VIEW = table("clinical").then(Select(columns=("marker", "stage")))
ITEM, OTHER = SumItem(Means(), VIEW, "train"), SumItem(CentredSquares(np.zeros(2)), VIEW, "train")
# as many numbers as OTHER has: its size does not tell it
MORE = SumItem(CentredSquares(np.ones(2)), VIEW, "train")
SITES = ("a", "b", "c")
OFF = {"privacy": {"masking": "off"}}
NOTHING = np.zeros((0, 2), dtype=np.int64)


def enrolled(coordinator: Any, folder: Path, **blocks: Any) -> tuple[Any, Any]:
    rehearsal = coordinator.rehearse(folder, **blocks)
    federation = rehearsal.federation()
    federation.enrol()
    return rehearsal, federation


def said(federation: Any, number: int, site: str) -> Any:
    """Last reply of a site under this number."""
    heard = [h for h in federation.grid.heard if isinstance(h.request, SumRequest)]
    return [h.reply for h in heard if (h.request.number, h.site) == (number, site)][-1]


def replayed(federation: Any, item: SumItem, lie: Callable[[str, Any], Any]) -> dict[str, Any]:
    """One more round in which the coordinator is handed what `lie` makes of each reply."""
    handed_on: dict[str, Any] = {}

    def hand_on(site: str, reply: Any) -> Any:
        handed_on[site] = lie(site, reply)
        return handed_on[site]

    federation.grid.hand_on = hand_on
    federation.sum_many([item])
    return handed_on


def only(site: str, old: Any) -> Callable[[str, Any], Any]:
    """An old reply in the place of one site's, and all others as they are."""
    return lambda name, reply: old if name == site else reply


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator that looks at no reply's question, and at no total's sense."""
    for check in ("check_sum", "check_result"):
        monkeypatch.setattr(Plausibility, check, lambda *_: None)
    monkeypatch.setattr(
        "server.federation.federation.check_answer", lambda request, reply, site: None
    )


MASKS = pytest.mark.parametrize("blocks", [{}, OFF], ids=["masked", "unmasked"])
REFUSED = "a reply to another question, or in another site's name"


@MASKS
def test_a_reply_of_an_earlier_round_is_refused(
    coordinator: Any, tabular: Path, blocks: dict[str, Any]
) -> None:
    _, federation = enrolled(coordinator, tabular, **blocks)
    federation.sum_many([ITEM])
    with pytest.raises(SiteError, match=f"site b: {REFUSED}"):
        replayed(federation, ITEM, only("b", said(federation, 0, "b")))


@MASKS
def test_a_reply_from_before_the_coordinator_started_again_is_refused(
    coordinator: Any, tabular: Path, blocks: dict[str, Any]
) -> None:
    rehearsal, federation = enrolled(coordinator, tabular, **blocks)
    federation.sum_many([ITEM])
    resumed = rehearsal.federation()
    resumed.enrol()
    with pytest.raises(SiteError, match=f"site c: {REFUSED}"):
        replayed(resumed, ITEM, only("c", said(federation, 0, "c")))


@MASKS
def test_a_reply_to_another_question_under_the_same_number_is_refused(
    coordinator: Any, tabular: Path, blocks: dict[str, Any]
) -> None:
    _, federation = enrolled(coordinator, tabular, **blocks)
    federation.sum_many([MORE])
    federation.number = 0
    with pytest.raises(SiteError, match=f"site a: {REFUSED}"):
        replayed(federation, OTHER, only("a", said(federation, 0, "a")))


@MASKS
def test_one_sites_reply_in_the_place_of_anothers_is_refused(
    coordinator: Any, tabular: Path, blocks: dict[str, Any]
) -> None:
    _, federation = enrolled(coordinator, tabular, **blocks)
    kept: dict[str, Any] = {}
    with pytest.raises(SiteError, match=f"site b: {REFUSED}"):
        replayed(federation, ITEM, lambda _, reply: kept.setdefault("first", reply))
    assert kept["first"].site == "a"


@MASKS
def test_replies_swapped_between_sites_are_refused(
    coordinator: Any, tabular: Path, blocks: dict[str, Any]
) -> None:
    _, federation = enrolled(coordinator, tabular, **blocks)
    kept: dict[str, Any] = {}
    replayed(federation, ITEM, lambda site, reply: kept.setdefault(site, reply))
    turned = {"a": "b", "b": "a", "c": "c"}
    federation.number = 0
    with pytest.raises(SiteError, match=f"site a: {REFUSED}"):
        replayed(federation, ITEM, lambda site, _: kept[turned[site]])


@pytest.mark.usefixtures("declares_dl3d")
def test_a_training_reply_of_an_earlier_round_is_refused(
    coordinator: Any, tabular: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_network(*_: Any) -> Update:
        nothing = np.zeros(0, dtype=np.float32)
        return Update(np.zeros(50, dtype=np.float32), nothing, np.ones(5))

    monkeypatch.setattr("client.training.round.train_network", train_network)
    _, federation = enrolled(coordinator, tabular)
    first: dict[str, Any] = {}
    federation.grid.hand_on = lambda site, reply: first.setdefault(site, reply)
    train(federation)
    with pytest.raises(SiteError, match=f"site a: {REFUSED}"):
        train(federation)


@pytest.mark.usefixtures("unchecked")
@MASKS
def test_without_the_check_nobody_notices_that_one_site_counts_twice(
    coordinator: Any, tabular: Path, blocks: dict[str, Any]
) -> None:
    _, federation = enrolled(coordinator, tabular, **blocks)
    honest = federation.sum_many([ITEM])[0]
    kept: dict[str, Any] = {}
    federation.grid.hand_on = lambda _, reply: kept.setdefault("first", reply)
    assert not np.array_equal(federation.sum_many([ITEM])[0].count, honest.count)


@pytest.mark.usefixtures("unchecked")
def test_without_the_check_a_replayed_reply_makes_noise_and_gives_no_site_away(
    coordinator: Any, tabular: Path
) -> None:
    rehearsal, federation = enrolled(coordinator, tabular)
    federation.sum_many([ITEM])
    handed_on = replayed(federation, ITEM, only("a", said(federation, 0, "a")))
    total = sum(reply.ring64 for reply in handed_on.values())
    true = {site: rehearsal.true_rings(site, ITEM).ring64 for site in SITES}
    for k in (1, 2, 3):
        for some in itertools.combinations(SITES, k):
            assert not (total == sum(true[site] for site in some)).any(), some


def test_the_same_sum_in_another_round_has_another_mask(coordinator: Any, tabular: Path) -> None:
    _, federation = enrolled(coordinator, tabular)
    federation.sum_many([ITEM])
    federation.sum_many([ITEM])
    for site in SITES:
        assert not (said(federation, 0, site).ring64 == said(federation, 1, site).ring64).any()


# -- one number, asked twice --------------------------------------------------------------------


def test_another_sum_under_the_same_number_has_another_mask(
    coordinator: Any, tabular: Path
) -> None:
    rehearsal, federation = enrolled(coordinator, tabular)
    federation.sum_many([ITEM])
    first = said(federation, 0, "a").ring64
    federation.number = 0
    federation.sum_many([OTHER])
    second = said(federation, 0, "a").ring64
    n = min(first.size, second.size)
    true = [rehearsal.true_rings("a", item).ring64[:n] for item in (ITEM, OTHER)]
    assert not (first[:n] - second[:n] == true[0] - true[1]).any()


def train(federation: Any) -> None:
    """One round of 50 weights."""
    plan = RoundPlan(1, 0.01, excluded_fold=-1, total=145, keep=False)
    federation.train("dl3d", "final", np.zeros(50, dtype=np.float32), NOTHING, plan)


def train_twice(federation: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """One question under one number, to sites whose training comes out differently each time."""
    import client.training.round

    def never_the_same(workspace: Any, request: Any) -> Update:
        times[workspace.name] = times.get(workspace.name, 0) + 1
        nothing = np.zeros(0, dtype=np.float32)
        return Update(change_of(workspace.name, times[workspace.name]), nothing, np.ones(5))

    times: dict[str, int] = {}
    monkeypatch.setattr(client.training.round, "train_network", never_the_same)
    for _ in range(2):
        federation.number = 0
        train(federation)
    return [h.reply for h in federation.grid.heard if h.kind == "train.network" and h.site == "a"]


def change_of(site: str, time: int) -> Any:
    rng = np.random.default_rng([ord(site), time])
    return rng.normal(0.0, 1e-3, 50).astype(np.float32)


@pytest.mark.usefixtures("declares_dl3d")
def test_a_site_refuses_other_weights_under_the_same_number(
    coordinator: Any, tabular: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, federation = enrolled(coordinator, tabular)
    with pytest.raises(SiteError, match=r"site a: cannot go on \(data"):
        train_twice(federation, monkeypatch)
    replies = [h.reply for h in federation.grid.heard if h.kind == "train.network"]
    assert isinstance(replies[-1], Problem)


@pytest.mark.usefixtures("declares_dl3d")
def test_a_site_in_a_deployment_sends_the_same_reply_again(
    coordinator: Any, tabular: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reply can be lost there; whoever asks for it again learns nothing more."""
    rehearsal = coordinator.rehearse(tabular)
    for path in rehearsal.sites.values():
        with path.open("a", encoding="utf-8") as file:
            file.write('\n[deployment]\nsuperlink = "127.0.0.1:9"\ninsecure = true\n')
    federation = rehearsal.federation()
    federation.enrol()
    first, second = train_twice(federation, monkeypatch)
    assert np.array_equal(first.parameters, second.parameters)
    assert np.array_equal(first.statistics, second.statistics)
    ledgers = {site: rehearsal.workspace(site).releases._ledger for site in SITES}
    payloads = {site: [e.payload for e in ledgers[site].entries()][-2:] for site in SITES}
    assert all(len(set(twice)) == 1 for twice in payloads.values())
    assert audit({site: ledger.entries() for site, ledger in ledgers.items()}) == []


@pytest.mark.usefixtures("declares_dl3d")
def test_without_the_guard_two_replies_under_one_number_differ_by_what_the_site_hides(
    coordinator: Any, tabular: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from common.masking.update import to_ring32

    monkeypatch.setattr(RunMasks, "_admit", lambda self, key, context, masked: None)
    _, federation = enrolled(coordinator, tabular)
    first, second = train_twice(federation, monkeypatch)
    hidden = to_ring32(change_of("a", 1), sites=3) - to_ring32(change_of("a", 2), sites=3)
    assert np.array_equal(first.parameters - second.parameters, hidden)


def test_a_coordinator_that_starts_again_asks_under_another_session(
    coordinator: Any, tabular: Path
) -> None:
    rehearsal, federation = enrolled(coordinator, tabular)
    federation.sum_many([ITEM])
    resumed = rehearsal.federation()
    resumed.enrol()
    resumed.sum_many([ITEM])
    assert not (said(federation, 0, "a").ring64 == said(resumed, 0, "a").ring64).any()
