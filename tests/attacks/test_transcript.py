"""Attack (a): all that a coordinator hears holds no site's statistic and no site's weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from common.masking.layout import sizes
from common.masking.update import Update, to_update_rings
from common.messages.exchanges import RoundPlan, SumRequest

pytestmark = pytest.mark.usefixtures("server_identity")
SITES = ("a", "b", "c")
WINDOW = 3  # numbers in a row that nobody hits by chance
# the unmasked variant must also lower what guards small test sets where nothing is masked
OFF = {"masking": "off", "min_per_class": 1}
# all signs, but for adding everyone: a sum that every site knows it is part of
COMBINATIONS = [c for c in itertools.product((-1, 0, 1), repeat=3) if abs(sum(c)) < 3 and any(c)]


@dataclass(frozen=True)
class Piece:
    """One vector of one round: what each site computed, and what it said."""

    what: str
    truth: dict[str, Any]
    said: dict[str, Any]


@dataclass(frozen=True)
class Transcript:
    """The coordinator's record, taken apart, and its bytes by site."""

    pieces: list[Piece]
    data: dict[str, list[bytes]]


def cut(rehearsal: Any, heard: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name, truth and reply of every masked vector in a reply to `query.sum`."""
    at = {"ring64": 0, "ring32": 0}
    for index, item in enumerate(heard.request.items):
        true = rehearsal.true_rings(heard.site, item)
        for ring, size in zip(at, sizes(item.statistic, len(item.view.outputs())), strict=True):
            said = getattr(heard.reply, ring)[at[ring] : at[ring] + size]
            at[ring] += size
            if size and len(rehearsal.study.members(item.subset)) > 1:
                what = f"{heard.request.number} {index} {type(item.statistic).__name__} {ring}"
                yield what, getattr(true, ring), said


def transcript(rehearsal: Any, grid: Any) -> Transcript:
    truth: dict[str, dict[str, Any]] = {}
    said: dict[str, dict[str, Any]] = {}
    data: dict[str, list[bytes]] = {site: [] for site in SITES}
    for heard in grid.heard:
        data[heard.site].append(heard.data)
        if isinstance(heard.request, SumRequest):
            for what, true, reply in cut(rehearsal, heard):
                truth.setdefault(what, {})[heard.site] = true
                said.setdefault(what, {})[heard.site] = reply
    return Transcript([Piece(what, truth[what], said[what]) for what in truth], data)


# -- the detectors ------------------------------------------------------------------------------


def telling(vector: Any) -> set[bytes]:
    """Every run of three different numbers, as bytes."""
    if vector.size < WINDOW:
        return set()
    runs = np.lib.stride_tricks.sliding_window_view(vector, WINDOW)
    return {run.tobytes() for run in runs if np.unique(run).size == WINDOW}


def runs_of(data: bytes, length: int) -> set[bytes]:
    return {data[i : i + length] for i in range(len(data) - length + 1)}


def sites_in_the_bytes(found: Transcript) -> set[str]:
    """Sites of whose true vectors three numbers in a row stand anywhere in the bytes."""
    everything = [part for parts in found.data.values() for part in parts]
    seen = {size: set().union(*(runs_of(d, size) for d in everything)) for size in (12, 24)}
    return {
        site
        for piece in found.pieces
        for site, vector in piece.truth.items()
        if any(run in seen[len(run)] for run in telling(vector))
    }


def combined(vectors: Mapping[str, Any], signs: tuple[int, ...]) -> Any:
    """Signed sum in the ring."""
    total = np.zeros_like(next(iter(vectors.values())))
    for site, sign in zip(SITES, signs, strict=True):
        if sign:
            total = total + vectors[site] if sign > 0 else total - vectors[site]
    return total


def agree(said: Any, true: Any) -> bool:
    """Return whether vectors share a number (64 bits) or three in a row (32 bits) at one place."""
    same = said == true
    if said.itemsize == 8 or same.size < WINDOW:
        return bool(same.any())
    return bool(np.lib.stride_tricks.sliding_window_view(same, WINDOW).all(axis=1).any())


def sums_given_away(found: Transcript) -> set[str]:
    """Pieces of which some signed sum of replies is one of the true vectors' but everyone's."""
    return {
        piece.what
        for piece in found.pieces
        for signs in COMBINATIONS
        for others in COMBINATIONS
        if agree(combined(piece.said, signs), combined(piece.truth, others))
    }


def rounds_given_away(found: Transcript) -> set[str]:
    """Sites whose replies to two rounds differ by what the true vectors differ by."""
    guilty = set()
    for first, second in itertools.combinations(found.pieces, 2):
        for site in SITES:
            said, true = (
                (first.said[site], second.said[site]),
                (first.truth[site], second.truth[site]),
            )
            if said[0].shape == said[1].shape and said[0].dtype == said[1].dtype:
                changed = true[0] != true[1]
                if changed.any() and agree(
                    (said[0] - said[1])[changed], (true[0] - true[1])[changed]
                ):
                    guilty.add(site)
    return guilty


def correlation(found: Transcript, site: str) -> tuple[float, int]:
    """Correlate replies with the truth, each piece on its own scale; and count the numbers."""
    said, true = [], []
    for piece in found.pieces:
        signed = np.dtype(f"int{8 * piece.truth[site].itemsize}")
        x, y = (v[site].view(signed).astype(np.float64) for v in (piece.truth, piece.said))
        if x.size > 1 and x.std() > 0:
            true.append((x - x.mean()) / x.std())
            said.append(y / max(float(np.abs(y).max()), 1.0))
    x, y = np.concatenate(true), np.concatenate(said)
    return float(np.corrcoef(x, y)[0, 1]), x.size


def uniformity(found: Transcript, site: str) -> float:
    """P-value of the chi-square test of the bytes of a site's replies against all being equal."""
    data = b"".join(piece.said[site].tobytes() for piece in found.pieces)
    counts = np.bincount(np.frombuffer(data, dtype=np.uint8), minlength=256)
    return float(stats.chisquare(counts).pvalue)


def assert_nothing_is_found(found: Transcript) -> None:
    assert sites_in_the_bytes(found) == set()
    assert sums_given_away(found) == set()
    assert rounds_given_away(found) == set()
    for site in SITES:
        r, n = correlation(found, site)
        assert abs(r) < 5.0 / np.sqrt(n), site
        assert uniformity(found, site) > 1e-7, site


def assert_every_site_is_found(found: Transcript) -> None:
    assert sites_in_the_bytes(found) == set(SITES)
    assert sums_given_away(found) == {piece.what for piece in found.pieces}
    assert rounds_given_away(found) == set(SITES)
    for site in SITES:
        r, n = correlation(found, site)
        assert abs(r) > 5.0 / np.sqrt(n), site
        assert uniformity(found, site) < 1e-100, site


def assert_all_together_are_right(found: Transcript) -> None:
    for piece in found.pieces:
        everyone = (1, 1, 1)
        assert np.array_equal(combined(piece.said, everyone), combined(piece.truth, everyone))


# -- sums ---------------------------------------------------------------------------------------


def listen(coordinator: Any, folder: Path, **blocks: Any) -> Transcript:
    rehearsal = coordinator.rehearse(folder, **blocks)
    return transcript(rehearsal, rehearsal.run(folder / "out"))


def test_a_masked_study_gives_no_sites_statistic_away(coordinator: Any, tabular: Path) -> None:
    found = listen(coordinator, tabular)
    assert {"FoldGram", "SvmGradient", "Means"} <= {piece.what.split()[2] for piece in found.pieces}
    assert {piece.truth["a"].dtype.name for piece in found.pieces} == {"uint64", "uint32"}
    assert_nothing_is_found(found)
    assert_all_together_are_right(found)


def test_an_unmasked_study_gives_every_sites_statistic_away(
    coordinator: Any, tabular: Path
) -> None:
    found = listen(coordinator, tabular, privacy=OFF)
    assert_every_site_is_found(found)
    assert_all_together_are_right(found)


def test_only_a_set_at_one_site_goes_in_the_clear(coordinator: Any, tabular: Path) -> None:
    """Such a set's sums are the site's own findings, and have rules of their own."""
    rehearsal = coordinator.rehearse(tabular)
    clear = {
        (heard.site, item.subset)
        for heard in rehearsal.run(tabular / "out").heard
        if isinstance(heard.request, SumRequest)
        for item in heard.request.items
        if not rehearsal.study.masked(item.subset)
    }
    assert clear == {("c", "external_1")}


# -- weights ------------------------------------------------------------------------------------

WEIGHTS = 4_000
RUNNING = np.array([[10, 60], [3_000, 3_040]], dtype=np.int64)


def change_of(site: str, number: int) -> Update:
    rng = np.random.default_rng([ord(site), number])
    change = rng.normal(0.0, 1e-3, WEIGHTS).astype(np.float32)
    return Update(change, np.zeros(0, dtype=np.float32), rng.uniform(1.0, 60.0, 5))


def listen_to_training(
    coordinator: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, **blocks: Any
) -> Transcript:
    import client.training.round

    monkeypatch.setattr(
        client.training.round,
        "train_network",
        lambda workspace, request: change_of(workspace.name, request.plan.round),
    )
    rehearsal = coordinator.rehearse(folder, **blocks)
    federation = rehearsal.federation()
    federation.enrol()
    weights = np.zeros(WEIGHTS, dtype=np.float32)
    for number in (0, 1):
        plan = RoundPlan(1, 0.01, excluded_fold=-1, total=145, keep=False, round=number)
        federation.train("dl3d", "final", weights, RUNNING, plan)
    return trained(federation.grid)


def trained(grid: Any) -> Transcript:
    pieces: dict[str, Piece] = {}
    data: dict[str, list[bytes]] = {site: [] for site in SITES}
    for heard in grid.heard:
        data[heard.site].append(heard.data)
        if heard.kind == "train.network":
            number = heard.request.plan.round
            rings = to_update_rings(change_of(heard.site, number), RUNNING, 3)
            for ring, vector in (
                ("parameters", rings.parameters),
                ("statistics", rings.statistics),
            ):
                piece = pieces.setdefault(f"{number} {ring}", Piece(f"{number} {ring}", {}, {}))
                piece.truth[heard.site] = vector
                piece.said[heard.site] = getattr(heard.reply, ring)
    return Transcript(list(pieces.values()), data)


@pytest.mark.usefixtures("declares_dl3d")
def test_masked_training_gives_no_sites_weights_away(
    coordinator: Any, tabular: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = listen_to_training(coordinator, tabular, monkeypatch)
    assert len(found.pieces) == 4
    assert_nothing_is_found(found)
    assert_all_together_are_right(found)


@pytest.mark.usefixtures("declares_dl3d")
def test_unmasked_training_gives_every_sites_weights_away(
    coordinator: Any, tabular: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = listen_to_training(coordinator, tabular, monkeypatch, privacy=OFF)
    assert_every_site_is_found(found)
    assert_all_together_are_right(found)
