"""A training goes on without hospitals that are away, and they come back with the next one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message

from client.app import app
from client.gate import verifier
from client.gate.site_gate import SiteGate
from client.site import load_site
from client.store.order import OvertakenError
from client.workspace import open_workspace
from common.ledger.audit import audit
from common.ledger.entry import Entry
from common.ledger.verify import read_entries
from common.messages.codec import decode
from common.study.model import Study, load_study, write_study
from server.app import run_configured_study
from server.federation import federation
from server.progress.events import Events, read_events
from sim.engines.inprocess import SERVER_NODE, InProcessGrid, task_identity
from sim.sites import place_coordinator, place_sites, with_identities

TRAIN = ("north", "south", "west", "east", "coast")
Away = Callable[[str, Any], bool]


class Restless(InProcessGrid):
    """A grid whose sites may be away when they are asked.

    As in a deployment, a gate hears a question before the app does.

    Parameters
    ----------
    newest_first : who comes back is handed the questions that it missed in this order.
    forgets : as in a deployment, gate and app have new processes for every question.
    """

    def __init__(
        self,
        sites: Mapping[str, Path],
        away: Away,
        dies: str = "",
        *,
        newest_first: bool = False,
        forgets: bool = True,
    ) -> None:
        super().__init__(app, sites)
        self._paths, self._sites = sites, list(sites)
        self._away, self._dies, self._newest_first = away, dies, newest_first
        self._forgets = forgets
        self._answered: dict[str, list[Message]] = {}
        self.overtaken = 0

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        for message_id in message_ids:
            message = self._waiting.get(message_id)
            if message is not None and not self._is_away(message):
                for other, one in self._handed_over(message_id, message):
                    self._answer(other, one)
            yield from self._answered.pop(message_id, ())

    def _handed_over(self, message_id: str, message: Message) -> list[tuple[str, Message]]:
        """Return the questions of a node up to one of them, or all that it has not answered."""
        node = message.metadata.dst_node_id
        own = [(i, one) for i, one in self._waiting.items() if one.metadata.dst_node_id == node]
        if self._newest_first:
            return own[::-1]
        return own[: own.index((message_id, message)) + 1]

    def _is_away(self, message: Message) -> bool:
        return self._away(self._site(message), decode(message.content))

    def _site(self, message: Message) -> str:
        return self._sites[message.metadata.dst_node_id - SERVER_NODE - 1]

    def _answer(self, message_id: str, message: Message) -> None:
        """Let a site answer, unless it is away."""
        if self._is_away(message):
            return
        kind = message.metadata.message_type
        try:
            SiteGate(load_site(self._paths[self._site(message)])).admit(kind, message.content)
        except OvertakenError:  # the app's own gate answers in its place
            self.overtaken += 1
        if self._forgets:
            verifier.forget_all()
        self._answered[message_id] = list(super().pull_messages([message_id]))
        if kind == self._dies:
            self._dies = ""
            raise StoppedHere


class StoppedHere(BaseException):
    """The coordinator's machine is gone."""


def nobody(site: str, request: Any) -> bool:
    return False


def one_round(site: str, request: Any) -> bool:
    """West is away in the second round of one training."""
    plan = getattr(request, "plan", None)
    return site == "west" and plan is not None and plan.epochs > 0 and about(request) == "fold1/1"


def about(request: Any) -> str:
    return f"{request.variant}/{request.plan.round}"


@pytest.fixture(scope="module")
def hospitals(imaging_master: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five hospitals that train: two are copies, which only their names tell apart."""
    folder = tmp_path_factory.mktemp("five")
    for name in (*TRAIN, "harbour"):
        source = {"east": "north", "coast": "south"}.get(name, name)
        shutil.copytree(imaging_master / source, folder / name)
    return folder


@pytest.fixture(scope="module")
def study(imaging_master: Path) -> Study:
    """One network, whose rounds need three of five hospitals."""
    own = load_study(imaging_master / "study.toml")
    entries = {site.name: site for site in own.sites}
    sites = [
        entries.get(name) or entries["north"].model_copy(update={"name": name}) for name in TRAIN
    ]
    internal, *others = own.test_sets
    changes = {
        "sites": (*sites, entries["harbour"]),
        "test_sets": (internal.model_copy(update={"sites": TRAIN}), *others),
        "base_models": ("dl3d",),
        "fusion_models": (),
        "dl3d": own.dl3d.model_copy(update={"rounds": 3, "transfer_bits": 8}),
        "training": own.training.model_copy(update={"quorum": 3, "patience": 0.01}),
    }
    return with_identities(own.model_copy(update=changes))


def run(
    study: Study,
    data: Path,
    cache: Path,
    out: Path,
    away: Away,
    dies: str = "",
    *,
    forgets: bool = True,
) -> Any:
    def grid(sites: Mapping[str, Path]) -> Restless:
        return Restless(sites, away, dies, forgets=forgets)

    return run_over(grid, study, data, cache, out)


def run_over(
    grid: Callable[[Mapping[str, Path]], Restless],
    study: Study,
    data: Path,
    cache: Path,
    out: Path,
) -> Any:
    open_workspace.cache_clear()
    sites = place_sites(
        {name: data / name for name in study.site_names},
        out,
        cache,
        exclude_bad_patients=False,
        verifying=("north", "coast"),
    )
    config = {
        "study": str(write_study(study, out.parent / f"{out.name}-input" / "study.toml")),
        "out": str(out),
        "label": "federated",
        "identity": str(place_coordinator(out.parent / "input")),
    }
    with task_identity(SERVER_NODE):
        return run_configured_study(grid(sites), config, Events(out / "events.jsonl"))


def comparable(tree: Any) -> str:
    return json.dumps({key: tree[key] for key in tree if key not in ("run", "timing", "transfers")})


def ledgers(out: Path) -> dict[str, tuple[Entry, ...]]:
    found = {}
    for site in TRAIN:
        (path,) = (out / "sites" / site).rglob("ledger.jsonl")
        found[site] = read_entries(path)
    return found


def openings(out: Path) -> dict[str, set[str]]:
    """Return by site what its ledger says of opened sums."""
    return {
        site: {
            item.what for entry in entries for item in entry.items if entry.exchange == "query.open"
        }
        for site, entries in ledgers(out).items()
    }


@pytest.fixture(scope="module")
def disturbed(
    study: Study, hospitals: Path, imaging_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Any]:
    """A run in which one hospital is away for a round, and what it found."""
    out = tmp_path_factory.mktemp("disturbed") / "run"
    return out, run(study, hospitals, imaging_cache, out, one_round)


def test_a_training_goes_on_without_a_hospital_that_is_away(disturbed: tuple[Path, Any]) -> None:
    out, found = disturbed
    events = [one for one in read_events(out / "events.jsonl") if one["kind"] == "went_on"]
    went_on = [(one["variant"], one["round"], one["without"]) for one in events]
    assert went_on == [("fold1", 1, ["west"])]
    assert audit(ledgers(out)) == []
    opened = openings(out)
    assert "sum opened: weights dl3d/fold1/1 without west" in opened["north"]
    assert "sum opened: weights dl3d/fold1/2" in opened["north"]
    assert not any("fold1/1" in what or "fold1/2" in what for what in opened["west"])
    assert "sum opened: weights dl3d/fold2/0" in opened["west"]
    assert any("rounds missed: west 2" in warning for warning in found["warnings"])
    losses = found["training"]["federated"]["dl3d"]
    assert losses["fold1"]["train_loss"][0] is not None
    assert losses["fold1"]["train_loss"][1:] == [None, None]
    assert None not in losses["fold2"]["train_loss"]


@pytest.mark.parametrize("kind", ["train.network", "query.sign", "query.open"])
def test_a_coordinator_that_is_stopped_in_a_round_opens_the_same_sum(
    study: Study,
    hospitals: Path,
    imaging_cache: Path,
    tmp_path: Path,
    disturbed: tuple[Path, Any],
    kind: str,
) -> None:
    """Once a site has signed, no other sum of the step can be opened: the run goes on with it."""
    out, forgets = tmp_path / "run", kind == "query.sign"
    with pytest.raises(StoppedHere):
        run(study, hospitals, imaging_cache, out, one_round, dies=kind, forgets=forgets)
    again = run(study, hospitals, imaging_cache, out, one_round, forgets=forgets)
    assert comparable(again) == comparable(disturbed[1])


def gone_before_it_signs(site: str, request: Any) -> bool:
    """West gives its update in the second round of one training, and is gone before it signs."""
    plan, opening = getattr(request, "plan", None), getattr(request, "opening", None)
    if site != "west" or opening is None or f"{opening.variant}/{opening.round}" != "fold1/1":
        return False
    return plan is None or (plan.epochs > 0 and opening.attempt > 0)


def test_a_hospital_that_is_gone_before_it_signs_is_left_out_of_its_round(
    study: Study,
    hospitals: Path,
    imaging_cache: Path,
    tmp_path: Path,
    disturbed: tuple[Path, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As if it had been away before: hospitals that derive the questions find the same numbers."""
    monkeypatch.setattr(federation, "SIGN_SECONDS", 0.01)
    out = tmp_path / "run"
    found = run(study, hospitals, imaging_cache, out, gone_before_it_signs, forgets=False)
    assert comparable(found) == comparable(disturbed[1])
    events = read_events(out / "events.jsonl")
    again = [(one["variant"], one["round"]) for one in events if one["kind"] == "not_signed"]
    assert again == [("fold1", 1)]
    assert audit(ledgers(out)) == []
    assert "sum opened: weights dl3d/fold1/1 without west" in openings(out)["north"]


class Absence:
    """Coast is away from the first training's first round until all trainings have ended."""

    def __init__(self) -> None:
        self.trained: set[str] = set()

    def __call__(self, site: str, request: Any) -> bool:
        plan = getattr(request, "plan", None)
        if plan is not None and plan.keep:
            self.trained.add(request.variant)
        return site == "coast" and plan is not None and "final" not in self.trained


def test_a_hospital_that_missed_all_trainings_keeps_its_features_when_it_is_back(
    study: Study, hospitals: Path, imaging_cache: Path, tmp_path: Path
) -> None:
    """Statistics need everybody's features, so they wait; until then the run has gone on.

    What it missed comes after what it is asked now, and changes nothing of that.
    """
    out = tmp_path / "run"
    few = study.model_copy(update={"dl3d": study.dl3d.model_copy(update={"rounds": 2})})
    grids = []

    def newest_first(sites: Mapping[str, Path]) -> Restless:
        grids.append(Restless(sites, Absence(), newest_first=True))
        return grids[0]

    found = run_over(newest_first, few, hospitals, imaging_cache, out)
    assert grids[0].overtaken > 0
    assert any("rounds missed: coast 8" in warning for warning in found["warnings"])
    assert not list((out / "owed").iterdir())
    auc = [row for row in found["performance"] if row["model"] == "dl3d" and row["set"] == "train"]
    assert auc[0]["n"] == 100
