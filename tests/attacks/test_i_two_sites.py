"""Attack (i): of two sites each can take its own numbers off the sum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.workspace import open_workspace
from common.errors import RefusedError
from common.masking.pairwise import mask_vector
from common.messages.exchanges import Refused, RoundPlan, SumItem, SumReply, SumRequest
from common.statistics.moments import Means
from common.transforms import Select
from common.transforms.views import table
from tests.fixtures.models import out_of_fold

pytestmark = pytest.mark.usefixtures("server_identity")
ITEM = SumItem(Means(), table("clinical").then(Select(columns=("marker", "stage"))), "train")
OPEN = {"masking": "where_possible"}
NOTHING = np.zeros((0, 2), dtype=np.int64)


def two_sites(coordinator: Any, folder: Path, **blocks: Any) -> tuple[Any, Any]:
    """A study whose third site trains nothing, and an enrolled federation of it."""
    blocks = {"fusion": {"pooling": "bins"}, **blocks}
    rehearsal = coordinator.rehearse(folder, sites="ab", visitors="c", **blocks)
    federation = rehearsal.federation()
    federation.enrol()
    return rehearsal, federation


def said(federation: Any, kind: str) -> dict[str, Any]:
    return {heard.site: heard.reply for heard in federation.grid.heard if heard.kind == kind}


@pytest.mark.parametrize("asked", ["a", "b"])
def test_a_site_refuses_a_sum_over_two(coordinator: Any, tabular: Path, asked: str) -> None:
    _, federation = two_sites(coordinator, tabular)
    study = federation.study.digest()
    keys = federation._keys()
    request = SumRequest(federation.run, study, federation.session, 0, (ITEM,), keys)
    with pytest.raises(RefusedError, match="rule sites, threshold 3"):
        list(federation._ask("query.sum", {asked: request}, 5.0))
    reply = said(federation, "query.sum")[asked]
    assert isinstance(reply, Refused)
    assert [refusal.rule for refusal in reply.refusals] == ["sites"]


def test_a_site_refuses_to_train_a_network_with_one_other(coordinator: Any, tabular: Path) -> None:
    _, federation = two_sites(coordinator, tabular)
    plan = RoundPlan(1, 0.01, excluded_fold=-1, total=105, keep=False)
    with pytest.raises(RefusedError, match="rule sites"):
        federation.train("dl3d", "final", np.zeros(9, dtype=np.float32), NOTHING, plan)
    assert {type(reply) for reply in said(federation, "train.network").values()} == {Refused}


def test_where_a_study_allows_it_the_second_site_has_the_firsts_statistic(
    coordinator: Any, tabular: Path
) -> None:
    rehearsal, federation = two_sites(coordinator, tabular, privacy=OPEN)
    federation.sum_many([ITEM])
    replies = said(federation, "query.sum")
    assert isinstance(replies["a"], SumReply)
    total = replies["a"].ring64 + replies["b"].ring64
    own = rehearsal.true_rings("b", ITEM).ring64
    assert np.array_equal(total - own, rehearsal.true_rings("a", ITEM).ring64)


def test_masks_would_not_help_two_sites(coordinator: Any, tabular: Path) -> None:
    rehearsal, _ = two_sites(coordinator, tabular, privacy=OPEN)
    true = {site: rehearsal.true_rings(site, ITEM).ring64 for site in ("a", "b")}
    masked = {
        site: mask_vector(true[site], {other: bytes(32)}, site, b"context", allow_fewer=True)
        for site, other in (("a", "b"), ("b", "a"))
    }
    assert not (masked["a"] == true["a"]).any()
    assert np.array_equal(masked["a"] + masked["b"] - true["b"], true["a"])


def test_a_site_that_wants_masks_gives_nothing_to_a_study_without(
    coordinator: Any, tabular: Path
) -> None:
    rehearsal = coordinator.rehearse(tabular, privacy={"masking": "off"})
    federation = rehearsal.federation()
    federation.enrol()
    with rehearsal.sites["a"].open("a", encoding="utf-8") as file:
        file.write('\n[privacy]\nmasking = "required"\n')
    open_workspace.cache_clear()
    with pytest.raises(RefusedError, match="rule masking"):
        federation.sum_many([ITEM])
    with pytest.raises(RefusedError, match="rule masking"):
        plan = RoundPlan(1, 0.01, excluded_fold=-1, total=145, keep=False)
        federation.train("dl3d", "final", np.zeros(9, dtype=np.float32), NOTHING, plan)
    with pytest.raises(RefusedError, match="rule masking"):
        view = out_of_fold(rehearsal.study, ("marker", "age"))
        federation.rows({"clinical": view}, np.zeros((1, 101)))
    with pytest.raises(RefusedError, match="rule masking"):
        rehearsal.federation("second").enrol()
    assert isinstance(said(federation, "query.sum")["a"], Refused)
