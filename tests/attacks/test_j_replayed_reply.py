"""Attack (j): a masked reply comes again in another round, or one question is asked twice."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import SiteError, StudyError
from common.exchanges import Problem, RoundPlan, SumItem, SumReply, SumRequest
from common.masking.context import ContextGuard
from common.statistics.moments import CentredSquares, Means
from common.transforms import Select
from common.views import table

pytestmark = pytest.mark.usefixtures("server_identity")
VIEW = table("clinical").then(Select(columns=("marker", "stage")))
ITEM, OTHER = SumItem(Means(), VIEW, "train"), SumItem(CentredSquares(np.zeros(2)), VIEW, "train")
SITES = ("a", "b", "c")
NOTHING = np.zeros((0, 2), dtype=np.int64)


def enrolled(coordinator: Any, folder: Path, more: str = "") -> tuple[Any, Any]:
    rehearsal = coordinator.rehearse(folder, more)
    federation = rehearsal.federation()
    federation.enrol()
    return rehearsal, federation


def said(federation: Any, number: int, site: str) -> Any:
    """What a site replied under this number, the last time it was asked."""
    heard = [h for h in federation.grid.heard if isinstance(h.request, SumRequest)]
    return [h.reply for h in heard if (h.request.number, h.site) == (number, site)][-1].wide


def replay(federation: Any, site: str, item: SumItem) -> Any:
    """Two rounds of one sum, the site's first reply standing in for its second; their sum."""
    federation.sum_many([item])
    old = SumReply(said(federation, 0, site), np.zeros(0, dtype=np.uint32))
    handed_on: dict[str, Any] = {}

    def again(name: str, reply: Any) -> Any:
        handed_on[name] = old if name == site else reply
        return handed_on[name]

    federation.grid.hand_on = again
    with contextlib.suppress(StudyError):  # where it is noticed: all the better
        federation.sum_many([item])
    return sum(reply.wide for reply in handed_on.values())


def test_a_replayed_reply_makes_the_sum_random_and_gives_no_site_away(
    coordinator: Any, tabular: Path
) -> None:
    rehearsal, federation = enrolled(coordinator, tabular)
    total = replay(federation, "a", ITEM)
    true = {site: rehearsal.true_rings(site, ITEM).wide for site in SITES}
    for k in (1, 2, 3):
        for some in itertools.combinations(SITES, k):
            assert not (total == sum(true[site] for site in some)).any(), some


def test_without_masks_a_replayed_reply_is_as_good_as_new(coordinator: Any, tabular: Path) -> None:
    rehearsal, federation = enrolled(coordinator, tabular, '\n[privacy]\nmasking = "off"\n')
    total = replay(federation, "a", ITEM)
    assert np.array_equal(total, sum(rehearsal.true_rings(site, ITEM).wide for site in SITES))


def test_the_same_sum_in_another_round_has_another_mask(coordinator: Any, tabular: Path) -> None:
    _, federation = enrolled(coordinator, tabular)
    federation.sum_many([ITEM])
    federation.sum_many([ITEM])
    for site in SITES:
        assert not (said(federation, 0, site) == said(federation, 1, site)).any()


def test_replies_in_another_order_give_the_same_sum(coordinator: Any, tabular: Path) -> None:
    _, federation = enrolled(coordinator, tabular)
    honest = federation.sum_many([ITEM])[0]
    kept: dict[str, Any] = {}
    turned = {"a": "b", "b": "c", "c": "a"}
    federation.grid.hand_on = lambda site, reply: kept.setdefault(site, reply)
    federation.sum_many([ITEM])
    federation.grid.hand_on = lambda site, reply: kept[turned[site]]
    federation._numbers = itertools.count(1)
    again = federation.sum_many([ITEM])[0]
    assert np.array_equal(again.mean, honest.mean)


# -- one number, asked twice --------------------------------------------------------------------


def test_another_sum_under_the_same_number_has_another_mask(
    coordinator: Any, tabular: Path
) -> None:
    rehearsal, federation = enrolled(coordinator, tabular)
    federation.sum_many([ITEM])
    first = said(federation, 0, "a")
    federation._numbers = itertools.count(0)
    federation.sum_many([OTHER])
    second = said(federation, 0, "a")
    n = min(first.size, second.size)
    true = [rehearsal.true_rings("a", item).wide[:n] for item in (ITEM, OTHER)]
    assert not (first[:n] - second[:n] == true[0] - true[1]).any()


def train_twice(federation: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """One question under one number, to sites whose training comes out differently each time."""
    import client.deep

    def never_the_same(workspace: Any, request: Any) -> tuple[Any, Any]:
        times[workspace.name] = times.get(workspace.name, 0) + 1
        return change_of(workspace.name, times[workspace.name]), np.ones(4)

    times: dict[str, int] = {}
    monkeypatch.setattr(client.deep, "train_network", never_the_same)
    plan = RoundPlan(1, 0.01, excluded_fold=-1, total=145, seed=1, keep=False)
    for _ in range(2):
        federation._numbers = itertools.count(0)
        federation.train("dl3d", "final", np.zeros(50, dtype=np.float32), NOTHING, plan)
    return [h.reply for h in federation.grid.heard if h.kind == "train.network" and h.site == "a"]


def change_of(site: str, time: int) -> Any:
    rng = np.random.default_rng([ord(site), time])
    return rng.normal(0.0, 1e-3, 50).astype(np.float32)


def test_a_site_refuses_other_weights_under_the_same_number(
    coordinator: Any, tabular: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, federation = enrolled(coordinator, tabular)
    with pytest.raises(SiteError, match=r"site a: cannot go on \(RefusedError"):
        train_twice(federation, monkeypatch)
    replies = [h.reply for h in federation.grid.heard if h.kind == "train.network"]
    assert isinstance(replies[-1], Problem)


def test_without_the_guard_two_replies_under_one_number_differ_by_what_the_site_hides(
    coordinator: Any, tabular: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from common.masking.weights import to_ring32

    monkeypatch.setattr(ContextGuard, "admit", lambda self, key, context, masked: None)
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
    assert not (said(federation, 0, "a") == said(resumed, 0, "a")).any()
