"""A coordinator that makes up a question, or an answer that questions follow from, gets nothing."""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
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
from common.masking.layout import end_to_end
from common.messages.codec import encode
from common.messages.exchanges import (
    CATALOGUE,
    AgreeRequest,
    EvaluateReply,
    KeyRequest,
    Problem,
    SumItem,
    SumRequest,
    Totals,
)
from common.messages.plain import from_tree, to_tree
from common.messages.totals import groups
from common.statistics.moments import Means
from common.transforms import Select
from common.transforms.views import table
from tests.attacks.lies import (
    LIES,
    OTHER_ENROLMENTS,
    WITHOUT_A_SITE,
    Lie,
    other_enrolments,
    tell_by_name,
)

EVERYBODY = ("a", "b", "c")
COUNTED = SumItem(Means(), table("clinical").then(Select(columns=("marker",))), "train")
POOLING = [{"pooling": "rows"}, {"pooling": "bins"}]


@pytest.mark.parametrize("fusion", POOLING, ids=["rows", "bins"])
def test_every_site_derives_every_question_of_an_honest_study(
    tabular: Path, tmp_path: Path, fusion: dict[str, str], coordinator: Any, server_identity: None
) -> None:
    trial = coordinator.rehearse(tabular, folds=3, verifying=EVERYBODY, fusion=fusion)
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
    trial = coordinator.rehearse(tabular, folds=3, verifying=EVERYBODY, fusion=fusion)
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

NAMED = r"phase \w+, question \d+"


def named_on_the_screen_of(site: str, screen: str) -> list[str]:
    """Return what the screen of a site names."""
    return re.findall(rf"site {site}: ({NAMED}): ", screen)


@pytest.mark.parametrize("name", [*LIES, WITHOUT_A_SITE, OTHER_ENROLMENTS])
def test_a_lie_ends_the_run_at_every_site_with_phase_and_number(
    name: str,
    tabular: Path,
    tmp_path: Path,
    coordinator: Any,
    server_identity: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: Any,
) -> None:
    trial = coordinator.rehearse(tabular, folds=3, verifying=EVERYBODY)
    lie = tell_by_name(name, monkeypatch.setattr)
    kind = "other_enrolments" if name == OTHER_ENROLMENTS else "not_derived"
    with pytest.raises(SiteError, match=rf"site a, {NAMED}: .*\({kind}") as stopped:
        trial.run(tmp_path / "out")
    assert name == WITHOUT_A_SITE or set(lie.heard_by) >= {"a", "c"}
    (asked,) = re.findall(NAMED, str(stopped.value))
    # the site names the question whose total it was, the coordinator the one that brought it
    of_a_total = name == WITHOUT_A_SITE or "total" in name
    phase, _, number = asked.rpartition(" ")
    about = f"{phase} {int(number) - 1}" if of_a_total else asked
    for site in EVERYBODY:
        assert named_on_the_screen_of(site, caplog.text) == [about]
    assert name != OTHER_ENROLMENTS or asked == "phase enrolment, question 0"


@pytest.mark.parametrize("name", [name for name in LIES if "total" not in name])
def test_a_site_that_does_not_derive_the_questions_answers_the_lie(
    name: str, tabular: Path, tmp_path: Path, coordinator: Any, server_identity: None
) -> None:
    trial = coordinator.rehearse(tabular)
    lie = Lie(LIES[name]())
    with pytest.raises(SiteError, match="another question"):  # by the reply's own echo
        trial.run(tmp_path / "out", ask=lie)
    assert lie.heard_by


def test_a_site_left_out_of_a_total_is_noticed_by_all_that_know_its_part(
    tabular: Path, tmp_path: Path, coordinator: Any, server_identity: None
) -> None:
    trial = coordinator.rehearse(tabular, folds=3, verifying=EVERYBODY)
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


# -- enrolments -----------------------------------------------------------------------------------


def test_after_false_enrolments_an_honest_coordinator_goes_on_under_the_same_name(
    tabular: Path,
    tmp_path: Path,
    coordinator: Any,
    server_identity: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = coordinator.rehearse(tabular, folds=3, verifying=EVERYBODY)
    with monkeypatch.context() as patch:
        tell_by_name(OTHER_ENROLMENTS, patch.setattr)
        with pytest.raises(SiteError, match="other_enrolments"):
            trial.run(tmp_path / "out")
    grid = trial.run(tmp_path / "out")
    assert [heard for heard in grid.heard if isinstance(heard.reply, EvaluateReply)]


def test_enrolments_that_no_site_agreed_on_begin_no_derivation(
    tabular: Path, coordinator: Any, server_identity: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shown once the others are asked to agree on the true ones, under the same session."""
    trial = coordinator.rehearse(tabular, folds=3, verifying=EVERYBODY)
    federation = trial.federation()
    shown = []
    false = other_enrolments()

    def show_again(site: str, request: Any) -> Any:
        if isinstance(request, KeyRequest):
            shown.append(request)
        if isinstance(request, AgreeRequest) and site == "a":
            lie = encode(false("a", shown[0]))
            gate = SiteGate(load_site(trial.sites["a"]))
            gate.admit("query.key", lie)
        return request

    federation.grid.ask = show_again
    federation.enrol()
    with pytest.raises(SiteError, match=r"phase enrolment, question 0: .*not_derived"):
        federation.sum_many([COUNTED])


def test_other_enrolments_after_all_agreed_are_refused_with_phase_and_number(
    tabular: Path, coordinator: Any, server_identity: None
) -> None:
    trial = coordinator.rehearse(tabular, folds=3, verifying=EVERYBODY)
    federation = trial.federation()
    federation.enrol()
    changed = other_enrolments()
    federation.grid.ask = lambda site, request: changed(site, request) or request
    with pytest.raises(SiteError, match=r"site a, phase enrolment, question 0: .*\(other_enrol"):
        federation.enrol_anew("a")
    federation.grid.ask = lambda _, request: request
    federation.enrol_anew("a")


# -- restarts and results -------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 3])
def test_a_site_that_is_started_again_goes_on_deriving(
    every: int, tabular: Path, tmp_path: Path, coordinator: Any, server_identity: None
) -> None:
    trial = coordinator.rehearse(tabular, folds=3, verifying=EVERYBODY)
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


# -- the end --------------------------------------------------------------------------------------


def keys_of(trial: Any, site: str) -> int:
    """Count the ephemeral keys that a site holds."""
    with closing(sqlite3.connect(load_site(trial.sites[site]).work / "site.db")) as memory:
        return int(memory.execute("SELECT count(*) FROM run_keys").fetchone()[0])


def test_a_site_that_derives_deletes_its_keys_with_its_last_answer(
    tabular: Path, tmp_path: Path, coordinator: Any, server_identity: None
) -> None:
    trial = coordinator.rehearse(tabular, folds=3, verifying=("a", "b"))
    held = []

    def look(site: str, request: Any) -> Any:
        if site == "a" and hasattr(request, "number"):
            held.append(keys_of(trial, "a"))
        return request

    trial.run(tmp_path / "out", ask=look)
    assert set(held) == {1}
    assert [keys_of(trial, site) for site in EVERYBODY] == [0, 0, 1]


def test_a_finished_run_can_be_resumed_and_even_its_last_step_be_lost(
    tabular: Path, tmp_path: Path, coordinator: Any, server_identity: None
) -> None:
    trial = coordinator.rehearse(tabular, folds=3, verifying=EVERYBODY)
    trial.run(tmp_path / "out")
    complete = trial.run(tmp_path / "out")
    assert {one.kind for one in complete.heard} == {"query.enrol", "query.key", "query.agree"}
    (tmp_path / "out" / "checkpoint" / "evaluation.safetensors").unlink()
    resumed = trial.run(tmp_path / "out")
    assert {one.kind for one in resumed.heard} >= {"evaluate.handout", "query.sum"}
    assert not [one for one in resumed.heard if isinstance(one.reply, Problem)]
    assert [keys_of(trial, site) for site in EVERYBODY] == [0, 0, 0]
