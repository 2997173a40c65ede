"""Sixty rounds in which hospitals are killed and come back anywhere, by a seeded chance."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from client.store.run_keys import VARIABLE, new_start
from client.store.site_db import site_db
from client.training import round as site_round
from client.workspace import open_workspace
from common.ledger.verify import read_entries
from common.messages.exchanges import RoundPlan
from server.federation.federation import Federation
from tests import builders
from tests.attacks.test_m_chosen_seeds import NETWORK, NOTHING, network_of
from tests.attacks.test_p_quorum import PATIENTS, SITES, TOTAL, crops_of
from tests.conftest import write_tabular_hospital

pytestmark = pytest.mark.usefixtures("server_identity", "declares_dl3d")
TRAININGS = (*(f"fold{fold}" for fold in range(5)), "final")
ROUNDS = 10
QUORUM = 3


class Weather:
    """Chance of hospitals being killed, and of coming back with a new start of their program."""

    def __init__(self, federation: Any, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._grid = federation.grid
        self._deliver, self._nodes = self._grid.pull_messages, self._grid.get_nodes
        self._left = dict.fromkeys(SITES, 0)
        self._starts = {site: new_start() for site in SITES}
        self.kills = 0
        self._grid.pull_messages, self._grid.get_nodes = self.pull_messages, self.get_nodes

    def get_nodes(self) -> list[Any]:
        self._left = {site: max(0, left - 1) for site, left in self._left.items()}
        return [node for node in self._nodes() if not self._left[node.name]]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        replies: list[Message] = []
        for message_id in message_ids:
            if (message := self._grid._waiting.get(message_id)) is None:
                continue
            site = self._grid._names[message.metadata.dst_node_id]
            if self._left[site]:
                self._left[site] -= 1
            elif self._random.random() < 0.03:
                self._kill(site)
            else:
                os.environ.update(self._starts[site])
                replies.extend(self._deliver([message_id]))
                if self._random.random() < 0.01:  # after the answer
                    self._kill(site)
        return replies

    def _kill(self, site: str) -> None:
        self.kills += 1
        self._left[site] = int(self._random.integers(1, 30))
        self._starts[site] = new_start()
        open_workspace.cache_clear()


@pytest.fixture
def federation(coordinator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Federation:
    monkeypatch.setattr(site_round, "network_of", network_of)
    monkeypatch.setattr(site_round, "crops_of", crops_of)
    monkeypatch.setenv(VARIABLE, "0" * 64)
    for name in SITES:
        write_tabular_hospital(tmp_path / name, name, PATIENTS, 10, 10)
    tests = {"internal": ("internal_test", SITES), "external_1": ("external_test", "c")}
    builders.study_file(
        tmp_path / "study.toml", **{**builders.TABULAR, "sites": SITES, "tests": tests}
    )
    network = {**NETWORK, "local_steps": 5, "rounds": ROUNDS, "learning_rate": 0.2}
    privacy = {"min_rows_per_fold": 3, "min_class_per_fold": 1, "max_departures": 20}
    training = {"quorum": QUORUM, "patience": 0.001}
    rehearsal = coordinator.rehearse(tmp_path, privacy=privacy, dl3d=network, training=training)
    made: Federation = rehearsal.federation()
    made.connection.sleep = lambda _: None
    made.enrol()
    return made


def trained(federation: Federation) -> tuple[list[float], dict[str, tuple[str, ...]]]:
    """Return the number at the end of every training, and who was present in each round."""
    ends, present = [], {}
    for variant in TRAININGS:
        weights = np.zeros(1, dtype=np.float32)
        invited: tuple[str, ...] = tuple(SITES)
        fold = -1 if variant == "final" else int(variant[-1])
        for number in range(ROUNDS):
            plan = RoundPlan(1, 0.2, fold, TOTAL, False, round=number, invited=invited)
            done = federation.train("dl3d", variant, weights, NOTHING, plan)
            invited = done.present
            present[f"dl3d/{variant}/{number}"] = invited
            weights = weights + done.update.change * np.float32(len(SITES) / len(invited))
        ends.append(float(weights[0]))
    return ends, present


def test_killed_hospitals_change_the_model_within_chance_and_no_step_opens_twice(
    federation: Federation, tmp_path: Path
) -> None:
    weather = Weather(federation, seed=3)
    ends, present = trained(federation)
    assert weather.kills > 20
    assert any(len(sites) < len(SITES) for sites in present.values())
    assert all(len(sites) >= QUORUM for sites in present.values())
    assert max(map(abs, ends)) < 1.0  # half of all patients are positive, so the number is near 0
    opened: dict[str, set[str]] = defaultdict(set)
    signers: dict[str, set[str]] = defaultdict(set)
    for site in SITES:
        (ledger,) = (tmp_path / "run" / "sites" / site).rglob("ledger.jsonl")
        for entry in read_entries(ledger):
            if entry.exchange == "query.open" and entry.decision == "released":
                (item,) = entry.items
                step = item.what.split()[3]
                opened[step].add(item.what)
                signers[step].add(site)
    assert set(opened) == set(present)
    departures = set()
    for step, sites in present.items():
        missing = [site for site in before(step, present) if site not in sites]
        (what,) = opened[step]
        assert what.endswith(f" without {', '.join(missing)}" if missing else step)
        assert signers[step] == set(sites)
        if 0 < len(missing) < QUORUM:
            departures.add(f"r/{step}")
    study = federation.study.digest()
    for site in SITES:
        (path,) = (tmp_path / "run" / "sites" / site).rglob("site.db")
        own = {one for one in departures if site in present[one.removeprefix("r/")]}
        assert site_db(path.parent).questions(study, "departure") == own


def before(step: str, present: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return who was asked in a step: those present in the one before, or all in the first."""
    training, _, number = step.rpartition("/")
    return present[f"{training}/{int(number) - 1}"] if int(number) else tuple(SITES)
