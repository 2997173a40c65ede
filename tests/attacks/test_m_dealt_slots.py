"""Attack (m): the coordinator deals out the places of pooled rows itself, or foretells the deal.

On the real exchange of three hospitals. It can send any message, and knows all that went through
its hands. It has the signing keys of no hospital.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from client import handlers
from client.store.group_key import GroupKeys
from common.errors import StudyError
from common.masking.fixed_point import PROTOCOL, framed, hkdf_sha256
from common.masking.group_key import group_key
from common.masking.pooled_rows import slots
from common.messages.exchanges import AgreeRequest, KeyReply, RowsRequest
from common.statistics.histogram import Histogram
from tests.fixtures.models import out_of_fold

pytestmark = pytest.mark.usefixtures("server_identity")
SITES = ("a", "b", "c")
MADE_UP = np.arange(32, dtype=np.uint8)
Wanted = dict[str, list[str]]


@dataclass
class Exchange:
    """One exchange of rows: who took which place, and what the coordinator heard."""

    taken: dict[str, Any]
    patients: dict[str, list[str]]
    heard: list[Any]
    counts: dict[str, int]

    def owners(self) -> Any:
        """Return the hospital that wrote into each place."""
        owner = np.full(sum(self.counts.values()), "", dtype="U1")
        for site, places in self.taken.items():
            owner[places] = site
        return owner

    def places_of(self, wanted: Wanted) -> Any:
        """Tell of each place if a wanted patient's row stands there."""
        found = np.zeros(sum(self.counts.values()), dtype=bool)
        for site, names in wanted.items():
            found[self.taken[site][np.isin(self.patients[site], names)]] = True
        return found


@pytest.fixture
def exchange(coordinator: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Exchange]:
    """Ask the hospitals of a folder for their rows, as the coordinator's program does."""

    def run(folder: Path, name: str = "r", ask: Any = None, hand_on: Any = None) -> Exchange:
        rehearsal = coordinator.rehearse(folder, name=name)
        federation = rehearsal.federation(run=name)
        taken: list[Any] = []
        write = handlers.to_slots

        def watched(cells: Any, label: Any, places: Any, *rest: Any) -> Any:
            taken.append(places)
            return write(cells, label, places, *rest)

        grid = federation.grid
        grid.ask, grid.hand_on = ask or grid.ask, hand_on or grid.hand_on
        with monkeypatch.context() as watching:
            watching.setattr(handlers, "to_slots", watched)
            federation.enrol()
            view = out_of_fold(federation.study, ("marker", "age"))
            counts = federation.sum(Histogram(edges=handlers.cell_edges(2)[None]), view).counts
            federation.rows({"clinical": view}, counts)
        names = {
            site: [
                p.patient_id
                for p in rehearsal.workspace(site, name).cohort.subset(rehearsal.study, "train")
            ]
            for site in SITES
        }
        asked = [one for one in grid.heard if one.kind == "query.rows"]
        assert [one.site for one in asked] == list(SITES)
        return Exchange(
            dict(zip(SITES, taken, strict=True)), names, grid.heard, dict(asked[0].request.counts)
        )

    return run


def known_keys(found: Exchange) -> Iterator[bytes]:
    """Yield every key that the coordinator can make from what went through its hands."""
    (rows,) = {h.request.digest: h.request for h in found.heard if h.kind == "query.rows"}.values()
    context = bytes.fromhex(rows.digest)
    yield hashlib.sha256(framed(PROTOCOL, "open slots", rows.run, context)).digest()
    yield bytes(32)
    yield MADE_UP.tobytes()
    yield context
    agreed = [h.request.enrolments for h in found.heard if h.kind == "query.agree"]
    sealed = [h.reply.sealed for h in found.heard if h.kind == "query.key"]
    for whole in {one.encode() for one in agreed}:
        yield hkdf_sha256(whole, salt=b"", info=b"")
        for made_up in (bytes(32), MADE_UP.tobytes()):
            yield group_key(dict.fromkeys(SITES, made_up), whole)
        for part in (slice(12, 44), slice(0, 32), slice(-32, None)):
            sent = [next(iter(one.values())).tobytes()[part] for one in sealed]
            yield group_key(dict(zip(SITES, sent, strict=True)), whole)
            yield from sent


def foretold(found: Exchange) -> float:
    """Return the largest share of places whose hospital the coordinator names."""
    owner, (rows,) = (
        found.owners(),
        {h.request.digest: h.request for h in found.heard if h.kind == "query.rows"}.values(),
    )
    best = 0.0
    for key in known_keys(found):
        dealt = slots(key, bytes.fromhex(rows.digest), found.counts)
        best = max(best, float(np.mean([(owner[p] == site).sum() for site, p in dealt.items()])))
    return best * len(SITES) / owner.size


# -- what a coordinator may try ----------------------------------------------------------------


def own_contribution(site: str, content: Any) -> Any:
    """Seal for nobody: a made-up contribution in place of every hospital's."""
    if not isinstance(content, AgreeRequest):
        return content
    sealed = {one: np.resize(MADE_UP, value.size) for one, value in content.sealed.items()}
    return replace(content, sealed=sealed)


def one_contribution_for_all(site: str, content: Any) -> Any:
    """Hand every hospital the contribution that was sealed for another one."""
    if not isinstance(content, AgreeRequest):
        return content
    names = list(content.sealed)
    return replace(content, sealed=dict(zip(names, [*content.sealed.values()][::-1], strict=True)))


def no_contribution(site: str, content: Any) -> Any:
    """Leave the others' contributions out, so that each hospital would have its own key."""
    return replace(content, sealed={}) if isinstance(content, AgreeRequest) else content


def another_transcript(site: str, content: Any) -> Any:
    """Name enrolments that nobody answered."""
    if isinstance(content, AgreeRequest):
        return replace(content, enrolments="0" * 64)
    return content


def other_counts(site: str, content: Any) -> Any:
    """Give one hospital the places of the others."""
    if isinstance(content, RowsRequest):
        few = {name: content.counts[name] if name == site else 1 for name in content.counts}
        return replace(content, counts=few)
    return content


def another_context(site: str, content: Any) -> Any:
    """Have each hospital deal from a context of its own."""
    if isinstance(content, RowsRequest):
        counts = dict(content.counts)
        first, second = (name for name in SITES if name != site)
        counts[first], counts[second] = counts[first] + 1, counts[second] - 1
        return replace(content, counts=counts)
    return content


def no_keys(site: str, content: Any) -> Any:
    """Name no session, so that no key is found."""
    return replace(content, keys=()) if isinstance(content, RowsRequest) else content


@pytest.mark.parametrize(
    "lie",
    [
        own_contribution,
        one_contribution_for_all,
        no_contribution,
        another_transcript,
        other_counts,
        another_context,
        no_keys,
    ],
)
def test_no_message_makes_hospitals_deal_from_what_the_coordinator_knows(
    lie: Any, exchange: Any, tabular: Path
) -> None:
    with pytest.raises(StudyError):
        exchange(tabular, ask=lie)


def test_a_contribution_put_in_place_of_a_hospitals_is_noticed_by_the_others(
    exchange: Any, tabular: Path
) -> None:
    def in_place(site: str, said: Any) -> Any:
        if site == "b" and isinstance(said, KeyReply):
            made_up = {one: np.resize(MADE_UP, v.size) for one, v in said.sealed.items()}
            return replace(said, sealed=made_up)
        return said

    with pytest.raises(StudyError):
        exchange(tabular, hand_on=in_place)


@pytest.mark.parametrize("held", [True, False], ids=["with the line", "without"])
def test_the_coordinator_foretells_no_hospitals_places(
    held: bool, exchange: Any, tabular: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not held:  # a key made from what went through its hands

        def public(self: GroupKeys, keys: Any, context: bytes) -> bytes:
            return hashlib.sha256(framed(PROTOCOL, "open slots", self._run, context)).digest()

        monkeypatch.setattr(GroupKeys, "slot_key", public)
    share = foretold(exchange(tabular))
    if held:  # chance names the hospital of every third place
        assert share < 0.55
    else:
        assert share == 1.0


def test_the_same_question_once_more_changes_no_place_and_another_run_all(
    exchange: Any, tabular: Path
) -> None:
    first, second = exchange(tabular, "one"), exchange(tabular, "two")
    assert first.counts == second.counts
    assert (first.owners() == second.owners()).mean() < 0.55


# -- the same patients at other hospitals -------------------------------------------------------


def moved(folder: Path, to: Path) -> tuple[Path, Wanted, Wanted]:
    """Exchange training patients of hospitals a and c; return the wanted ones in either world."""
    shutil.copytree(folder, to)
    tables = {site: pd.read_csv(to / site / "cohort.csv", dtype=str) for site in "ac"}
    rows = {site: np.flatnonzero(one["split"] == "train") for site, one in tables.items()}
    n = min(own.size for own in rows.values())
    one, other = (tables[site].iloc[rows[site][:n]].copy() for site in "ac")
    tables["a"].iloc[rows["a"][:n]], tables["c"].iloc[rows["c"][:n]] = other, one
    for site, table in tables.items():
        table.to_csv(to / site / "cohort.csv", index=False)
    names = one["patient_id"].tolist()
    return to, {"a": names}, {"c": names}


def in_order_of_sites(key: bytes, context: bytes, counts: dict[str, int]) -> dict[str, Any]:
    starts = dict(zip(SITES, np.cumsum([0, *counts.values()]), strict=False))
    return {site: starts[site] + np.arange(counts[site]) for site in SITES}


@pytest.mark.parametrize("held", [True, False], ids=["with the line", "without"])
def test_moving_patients_to_another_hospital_moves_no_row_in_what_the_coordinator_hears(
    held: bool, exchange: Any, tabular: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not held:
        monkeypatch.setattr(handlers, "slots", in_order_of_sites)
    other, at_a, at_c = moved(tabular, tmp_path / "moved")
    first = exchange(tabular, "here").places_of(at_a)
    second = exchange(other, "there").places_of(at_c)
    assert first.sum() == second.sum() == 40
    where = np.arange(first.size)
    for wanted in (first, second):
        p = stats.mannwhitneyu(where[wanted], where[~wanted]).pvalue
        assert (p > 1e-6) == held
    assert (stats.ks_2samp(where[first], where[second]).pvalue > 1e-6) == held
