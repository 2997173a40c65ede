"""A coordinator that makes up a question, or an answer that questions follow from, gets nothing."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.gate import verifier
from client.gate.schema import StoppedError
from client.gate.site_gate import SiteGate
from client.gate.verifier import Verifier
from client.site import load_site
from common.errors import SiteError
from common.masking.fingerprint import P
from common.masking.layout import end_to_end
from common.messages.codec import encode
from common.messages.exchanges import (
    CATALOGUE,
    EvaluateRequest,
    KeyRequest,
    Problem,
    SumRequest,
    Totals,
)
from common.messages.plain import from_tree, to_tree
from common.messages.totals import groups

EVERYBODY = ("a", "b", "c")
POOLING = [{"pooling": "rows"}, {"pooling": "bins"}]


@pytest.mark.parametrize("fusion", POOLING, ids=["rows", "bins"])
def test_every_site_derives_every_question_of_an_honest_study(
    tabular: Path, tmp_path: Path, fusion: dict[str, str], coordinator: Any, server_identity: None
) -> None:
    trial = coordinator.rehearse(tabular, verifying=EVERYBODY, fusion=fusion)
    grid = trial.run(tmp_path / "out")
    asked = [heard for heard in grid.heard if heard.site == "a" and heard.kind == "query.sum"]
    assert len(asked) > 10
    assert sum(len(heard.request.progress) for heard in asked) > 10
    assert not [heard for heard in grid.heard if isinstance(heard.reply, Problem)]


# -- every leaf of every request ------------------------------------------------------------------

UNASKED = {"keys", "session", "progress", "run", "study"}
"""Fields that say nothing of what is asked; other rules and the masks hold them."""


def other(value: Any) -> Any:
    """Return another value of the same type, as near as there is one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return float(np.nextafter(value, 2.0 * value + 1.0))
    return f"{value}x"


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every number and text of a tree, and of every array."""
    if isinstance(tree, dict):
        for key, part in tree.items():
            if key != "__class__" and not (len(path) == 0 and key in UNASKED):
                yield from leaves(part, (*path, key))
    elif isinstance(tree, list):
        for index, part in enumerate(tree):
            yield from leaves(part, (*path, index))
    elif tree is not None:
        yield path


def mutated(request: Any, path: tuple[Any, ...], rng: random.Random) -> Any:
    """Return the request with one leaf changed: of an array, one element by one unit."""
    tree, arrays = to_tree(request)
    at = tree
    for key in path[:-1]:
        at = at[key]
    if path[-1] != "__array__":
        at[path[-1]] = other(at[path[-1]])
        return from_tree(tree, arrays)
    place = at["__array__"]
    changed = arrays[place].copy()
    if not changed.size:
        return None
    flat = changed.reshape(-1)
    spot = rng.randrange(flat.size)
    step = (
        np.nextafter(flat[spot], flat.dtype.type(2 * flat[spot] + 1))
        if flat.dtype.kind == "f"
        else flat[spot] + 1
    )
    if flat[spot] == step or not np.isfinite(flat[spot]):
        flat[spot] = 1.0
    else:
        flat[spot] = step
    arrays[place] = changed
    return from_tree(tree, arrays)


@pytest.mark.parametrize("fusion", POOLING, ids=["rows", "bins"])
def test_a_request_with_any_leaf_changed_is_refused(
    tabular: Path,
    tmp_path: Path,
    fusion: dict[str, str],
    coordinator: Any,
    server_identity: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = coordinator.rehearse(tabular, verifying=EVERYBODY, fusion=fusion)
    monkeypatch.setattr(Verifier, "stop", lambda *_: None)  # so that the honest one goes on
    rng, tried, passed = random.Random(17), 0, []  # noqa: S311
    kinds = {one.request: kind for kind, one in CATALOGUE.items()}

    def try_all(site: str, request: Any) -> Any:
        nonlocal tried
        if site != "a" or not hasattr(request, "progress"):
            return request
        gate = SiteGate(load_site(trial.sites["a"]))
        paths = list(leaves(to_tree(request)[0]))
        for path in rng.sample(paths, min(len(paths), 25)):
            lie = mutated(request, path, rng)
            if lie is None:
                continue
            tried += 1
            try:
                gate.admit(kinds[type(request)], encode(lie))
            except StoppedError:
                continue
            passed.append((type(request).__name__, path))
        return request

    trial.run(tmp_path / "out", ask=try_all)
    assert tried > 300
    # of the hand-out, the coordinator's signature and versions are its own to choose
    assert [one for one in passed if not own_to_choose(one)] == []


def own_to_choose(found: tuple[str, tuple[Any, ...]]) -> bool:
    kind, path = found
    return kind == "EvaluateRequest" and path[:2] == ("bundle", "signature.json")


# -- whole lies -----------------------------------------------------------------------------------


class Lie:
    """Change the first request that a change applies to, at every site alike."""

    def __init__(self, change: Callable[[str, Any], Any]) -> None:
        self._change, self.told = change, 0

    def __call__(self, site: str, request: Any) -> Any:
        lie = self._change(site, request)
        if lie is None:
            return request
        self.told += 1
        return lie


def moved_edge(_: str, request: Any) -> Any:
    if not isinstance(request, SumRequest):
        return None
    for i, item in enumerate(request.items):
        edges = getattr(item.statistic, "edges", None)
        if edges is not None and np.isfinite(edges).any():
            moved = edges.copy()
            spot = tuple(np.argwhere(np.isfinite(moved))[0])
            moved[spot] = np.nextafter(moved[spot], np.inf)
            lie = replace(item, statistic=replace(item.statistic, edges=moved))
            return replace(request, items=(*request.items[:i], lie, *request.items[i + 1 :]))
    return None


def moved_coefficient(_: str, request: Any) -> Any:
    if not isinstance(request, SumRequest):
        return None
    for i, item in enumerate(request.items):
        tree, arrays = to_tree(item.view)
        floats = [k for k, a in enumerate(arrays) if a.dtype == np.float64 and a.size]
        if floats:
            arrays[floats[0]] = arrays[floats[0]] + 1e-6
            lie = replace(item, view=from_tree(tree, arrays))
            return replace(request, items=(*request.items[:i], lie, *request.items[i + 1 :]))
    return None


def fewer_items(_: str, request: Any) -> Any:
    if isinstance(request, SumRequest) and len(request.items) > 1:
        return replace(request, items=request.items[1:])
    return None


def totals_plus(change: int) -> Callable[[str, Any], Any]:
    def lie(_: str, request: Any) -> Any:
        for i, entry in enumerate(getattr(request, "progress", ())):
            if isinstance(entry, Totals) and entry.ring64.size:
                ring = entry.ring64.copy()
                ring[-1] += np.uint64(change % 2**64)
                forged = replace(entry, ring64=ring)
                progress = (*request.progress[:i], forged, *request.progress[i + 1 :])
                return replace(request, progress=progress)
        return None

    return lie


def mixed_rounds() -> Callable[[str, Any], Any]:
    kept: dict[str, Totals] = {}

    def lie(site: str, request: Any) -> Any:
        for entry in getattr(request, "progress", ()):
            before = kept.get(site)
            kept[site] = entry
            if before is None or not isinstance(before, Totals) or entry.number == before.number:
                continue
            if not isinstance(entry, Totals):
                continue
            mixed = replace(before, number=entry.number)
            return replace(request, progress=(mixed,))
        return None

    return lie


def other_enrolments(site: str, request: Any) -> Any:
    if not isinstance(request, KeyRequest) or site == "b":
        return None
    liar = next(one for one in request.enrolments if one.site == "b")
    counts = {name: (n + 1, positives) for name, (n, positives) in liar.counts.items()}
    lie = replace(liar, counts=counts)
    return replace(
        request,
        enrolments=tuple(lie if one is liar else one for one in request.enrolments),
    )


def other_cutoffs(_: str, request: Any) -> Any:
    if not isinstance(request, EvaluateRequest):
        return None
    edges = request.edges.copy()
    edges[0, 1] = np.nextafter(edges[0, 1], 1.0)
    return replace(request, edges=edges)


LIES: dict[str, Callable[[], Callable[[str, Any], Any]]] = {
    "an edge by one unit in the last place": lambda: moved_edge,
    "a coefficient by 1e-6": lambda: moved_coefficient,
    "a sum less": lambda: fewer_items,
    "a total by one": lambda: totals_plus(1),
    "a total by 2^61 - 1": lambda: totals_plus(P),
    "a total by four times 2^61 - 1": lambda: totals_plus(-4 * P),
    "the totals of another round": mixed_rounds,
    "the cells of the test sets": lambda: other_cutoffs,
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_ends_the_run_at_every_site_with_phase_and_number(
    name: str, tabular: Path, tmp_path: Path, coordinator: Any, server_identity: None, caplog: Any
) -> None:
    trial = coordinator.rehearse(tabular, verifying=EVERYBODY)
    lie = Lie(LIES[name]())
    with pytest.raises(SiteError, match=r"phase \w+, question \d+.*\(not_derived"):
        trial.run(tmp_path / "out", ask=lie)
    assert lie.told == 1  # the first site that was lied to
    assert "question" in caplog.text


@pytest.mark.parametrize("name", [name for name in LIES if "total" not in name])
def test_a_site_that_does_not_derive_the_questions_answers_the_lie(
    name: str, tabular: Path, tmp_path: Path, coordinator: Any, server_identity: None
) -> None:
    trial = coordinator.rehearse(tabular)
    lie = Lie(LIES[name]())
    with pytest.raises(SiteError, match="another question"):  # by the reply's own echo
        trial.run(tmp_path / "out", ask=lie)
    assert lie.told >= 1


def test_sites_that_are_shown_different_enrolments_agree_on_no_key(
    tabular: Path, tmp_path: Path, coordinator: Any, server_identity: None
) -> None:
    trial = coordinator.rehearse(tabular, verifying=EVERYBODY)
    with pytest.raises(SiteError):
        trial.run(tmp_path / "out", ask=Lie(other_enrolments))


def test_a_site_left_out_of_a_total_is_noticed(
    tabular: Path, tmp_path: Path, coordinator: Any, server_identity: None
) -> None:
    trial = coordinator.rehearse(tabular, verifying=EVERYBODY)
    asked: dict[int, SumRequest] = {}

    def without_b(_: str, request: Any) -> Any:
        """Take off what b added, as one could who knows its part."""
        for entry in getattr(request, "progress", ()):
            before = asked.get(entry.number)
            if before is None or not isinstance(entry, Totals):
                continue
            back = [before.items[i] for places in groups(before.items).values() for i in places]
            part = end_to_end(trial.true_rings("b", item) for item in back)
            less = replace(
                entry, ring64=entry.ring64 - part.ring64, ring32=entry.ring32 - part.ring32
            )
            return replace(request, progress=(less,))
        if isinstance(request, SumRequest):
            asked[request.number] = request
        return None

    with pytest.raises(SiteError, match="not_derived"):
        trial.run(tmp_path / "out", ask=Lie(without_b))


# -- restarts and results -------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 3])
def test_a_site_that_is_started_again_goes_on_deriving(
    every: int, tabular: Path, tmp_path: Path, coordinator: Any, server_identity: None
) -> None:
    trial = coordinator.rehearse(tabular, verifying=EVERYBODY)
    asked = 0

    def restarting(site: str, request: Any) -> Any:
        """Forget all that lies in memory, as a program that is started again has."""
        nonlocal asked
        asked += site == "a"
        if site == "a" and asked % every == 0:
            verifier.forget_all()
        return request

    trial.run(tmp_path / "out", ask=restarting)
    assert asked > 15


def test_verified_and_unverified_runs_have_the_same_results(
    tabular: Path, tmp_path: Path, coordinator: Any, server_identity: None
) -> None:
    results = []
    for name, verifying in (("with", EVERYBODY), ("without", ())):
        folder = shutil.copytree(tabular, tmp_path / name)
        trial = coordinator.rehearse(folder, verifying=verifying)
        trial.run(tmp_path / "out" / name)
        results.append((tmp_path / "out" / name / "bundle" / "arrays.safetensors").read_bytes())
        results.append((tmp_path / "out" / name / "bundle" / "bundle.json").read_bytes())
    assert results[:2] == results[2:]
