"""Attack (m): whose patient is a pooled row? The coordinator reads it from where the row stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from client.store.ledger import ledger_path
from common.errors import RefusedError
from common.evaluation.linkage import cell_edges, row_cells
from common.ledger.verify import read_entries
from common.masking.fixed_point import framed, hkdf_sha256
from common.masking.pairwise import mask_context, mask_vector
from common.masking.pooled_rows import from_slots, permutation, slots, to_slots
from common.messages.exchanges import RowsReply, RowsRequest
from common.statistics.histogram import Histogram
from common.transforms.views import materialise
from tests.fixtures.models import out_of_fold

pytestmark = pytest.mark.usefixtures("server_identity")
SITES = ("a", "b", "c")
COUNTS = {"a": 3, "b": 4, "c": 5}
DRAWS = 1500
Deal = Callable[[bytes], dict[str, Any]]
World = dict[str, np.ndarray[Any, Any]]
# the same twelve patients, who lie at other hospitals in the second world; one of them is wanted
WANTED = 0.99
FIRST: World = {
    "a": np.array([WANTED, 0.1, 0.2]),
    "b": np.array([0.3, 0.35, 0.4, 0.45]),
    "c": np.array([0.5, 0.6, 0.7, 0.8, 0.9]),
}
SECOND: World = {
    "a": np.array([0.9, 0.45, 0.5]),
    "b": np.array([0.1, 0.8, 0.4, 0.2]),
    "c": np.array([0.7, 0.3, WANTED, 0.6, 0.35]),
}


def secret(seed: int, *names: str) -> bytes:
    """A key that the coordinator does not know."""
    return hkdf_sha256(seed.to_bytes(4, "big"), salt=b"", info=framed(*names))


def by_group_key(key: bytes) -> dict[str, Any]:
    return slots(key, b"rows", COUNTS)


def in_order_of_sites(key: bytes) -> dict[str, Any]:
    """As it was: every hospital's rows together, shuffled among themselves."""
    starts = dict(zip(SITES, np.cumsum([0, *COUNTS.values()]), strict=False))
    return {site: starts[site] + np.arange(COUNTS[site]) for site in SITES}


def transcript(world: World, seed: int, deal: Deal) -> dict[str, Any]:
    """All that the coordinator hears in one run: every hospital's masked vector."""
    context = mask_context("run", "rows", str(seed), "ring32", SITES)
    heard = {}
    for site, values in world.items():
        shuffled = permutation(secret(seed, "own", site), values.size)
        places = deal(secret(seed, "group"))[site][shuffled]
        ring = to_slots(row_cells(values[:, None], cell_edges(2)), values > 0.5, places, 12, 2)
        pairs = {peer: secret(seed, *sorted((site, peer))) for peer in SITES if peer != site}
        heard[site] = mask_vector(ring, pairs, site, context)
    return heard


def place_of_the_wanted(heard: dict[str, Any]) -> int:
    probabilities, _ = from_slots(sum(heard.values()), 1, 2)
    return int(np.flatnonzero(probabilities[:, 0] == WANTED)[0])


def places(world: World, deal: Deal) -> Any:
    """Count at each place the runs in which the wanted row stood there."""
    found = [place_of_the_wanted(transcript(world, seed, deal)) for seed in range(DRAWS)]
    return np.bincount(found, minlength=12)


def test_permuting_patients_among_hospitals_leaves_the_transcript_distributed_alike() -> None:
    first, second = places(FIRST, by_group_key), places(SECOND, by_group_key)
    assert stats.chisquare(first).pvalue > 1e-3
    assert stats.chisquare(second).pvalue > 1e-3
    assert stats.chi2_contingency([first, second]).pvalue > 1e-3
    rings = [transcript(world, 0, by_group_key) for world in (FIRST, SECOND)]
    bits = np.array([np.unpackbits(ring[site].view(np.uint8)) for ring in rings for site in SITES])
    assert np.abs(bits.mean(axis=1) - 0.5).max() < 0.07


def test_places_in_the_order_of_hospitals_tell_whose_the_patient_is() -> None:
    """The attack succeeds on rows that each hospital shuffles among its own, as it was."""
    first, second = places(FIRST, in_order_of_sites), places(SECOND, in_order_of_sites)
    assert np.flatnonzero(first).tolist() == [0, 1, 2]
    assert np.flatnonzero(second).tolist() == [7, 8, 9, 10, 11]


def test_the_order_of_a_hospitals_own_rows_is_its_secret() -> None:
    """Another hospital knows the places of all, and not which patient took which."""
    taken = []
    for seed in range(DRAWS):
        order = permutation(secret(seed, "own", "a"), 3)
        taken.append(int(np.flatnonzero(order == 0)[0]))
    assert stats.chisquare(np.bincount(taken, minlength=3)).pvalue > 1e-3


def pool(federation: Any) -> Any:
    """The rows of a clinical model, asked for as the coordinator's program does."""
    view = out_of_fold(federation.study, ("marker", "age"))
    counts = federation.sum(Histogram(edges=cell_edges(2)[None]), view).counts
    return federation.rows({"clinical": view}, counts)


@pytest.fixture
def asked(coordinator: Any, tabular: Path) -> Any:
    """A study's hospitals, the federation that asked them for rows, and these rows."""
    rehearsal = coordinator.rehearse(tabular)
    federation = rehearsal.federation()
    federation.enrol()
    return rehearsal, federation, pool(federation)


def test_the_coordinator_reads_the_rows_of_all_hospitals_and_of_no_fewer(asked: Any) -> None:
    _, federation, rows = asked
    assert rows.probabilities.shape == (145, 1)
    assert np.array_equal(np.round(rows.probabilities, 2), rows.probabilities)
    replies = [one.reply for one in federation.grid.heard if one.kind == "query.rows"]
    assert all(isinstance(reply, RowsReply) for reply in replies)
    rings = [reply.ring32 for reply in replies]
    from_slots(sum(rings), 1, 2)
    for few in (*combinations(rings, 1), *combinations(rings, 2)):
        with pytest.raises(ValueError, match="place"):
            from_slots(sum(few), 1, 2)


def test_rows_without_a_mask_are_read_one_hospital_at_a_time(
    coordinator: Any, tabular: Path
) -> None:
    """The attack succeeds where the study says openly that nothing is masked."""
    rehearsal = coordinator.rehearse(tabular, privacy={"masking": "off"})
    federation = rehearsal.federation()
    federation.enrol()
    pool(federation)
    for heard in federation.grid.heard:
        if heard.kind == "query.rows":
            flags = heard.reply.ring32.reshape(-1, 3)[:, 0]
            assert flags.sum() == federation.members[heard.site].counts["train"][0]


@pytest.mark.parametrize("counts", [{"a": 145}, {"a": 60, "b": 85}, {"a": 59, "b": 46, "c": 40}])
def test_a_hospital_refuses_rows_among_other_hospitals_or_patients_than_train(
    coordinator: Any, tabular: Path, counts: dict[str, int]
) -> None:
    federation = coordinator.rehearse(tabular).federation()
    federation.enrol()

    def among_others(_: str, request: Any) -> Any:
        return replace(request, counts=counts) if isinstance(request, RowsRequest) else request

    federation.grid.ask = among_others
    with pytest.raises(RefusedError, match="rule pooled_rows"):
        pool(federation)


def test_a_hospital_refuses_rows_to_a_study_that_shares_none(
    coordinator: Any, tabular: Path
) -> None:
    federation = coordinator.rehearse(tabular, fusion={"pooling": "bins"}).federation()
    federation.enrol()
    with pytest.raises(RefusedError, match="rule pooled_rows"):
        pool(federation)


def attack(federation: Any, rehearsal: Any, rows: Any, site: str) -> int:
    """Find the patients of a hospital whose clinical values lead to exactly one row."""
    own = materialise(
        out_of_fold(federation.study, ("marker", "age")), rehearsal.workspace(site).tables, "train"
    )
    guesses = np.round(own.values[:, 0], 2)
    return sum(np.isclose(rows.probabilities[:, 0], guess).sum() == 1 for guess in guesses)


def test_what_a_hospital_measures_is_what_the_attack_finds(asked: Any) -> None:
    """It stands in the ledger before any row has left."""
    rehearsal, federation, rows = asked
    for site in SITES:
        work = rehearsal.workspace(site).settings.work
        (item,) = read_entries(ledger_path(work))[-1].items
        assert item.unique == attack(federation, rehearsal, rows, site)
        assert 0 < item.unique < item.rows


def test_a_hospital_refuses_where_the_attack_finds_too_many(
    coordinator: Any, tabular: Path
) -> None:
    rehearsal = coordinator.rehearse(tabular, privacy={"max_unique_rows": 0.01})
    federation = rehearsal.federation()
    federation.enrol()
    with pytest.raises(RefusedError, match=r"rule unique_rows, threshold 0\.01"):
        pool(federation)
    entry = read_entries(ledger_path(rehearsal.workspace("a").settings.work))[-1]
    assert (entry.exchange, entry.decision, entry.reason) == (
        "query.rows",
        "refused",
        "unique_rows",
    )
    assert all(item.unique is None for item in entry.items)


def test_fewer_decimals_hide_more_patients(coordinator: Any, tabular: Path) -> None:
    found = {}
    for decimals in (1, 3):
        blocks = {"privacy": {"max_unique_rows": 1.0}, "fusion": {"row_decimals": decimals}}
        rehearsal = coordinator.rehearse(tabular, **blocks, name=f"with-{decimals}")
        federation = rehearsal.federation(run=f"r{decimals}")
        federation.enrol()
        view = out_of_fold(federation.study, ("marker", "age"))
        counts = federation.sum(Histogram(edges=cell_edges(decimals)[None]), view).counts
        federation.rows({"clinical": view}, counts)
        found[decimals] = int((counts == 1).sum())
    assert found[1] < found[3] / 4
