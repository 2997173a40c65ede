"""A hospital whose updates spoil a network: the others see it on their own held-out patients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import client.training.round
from client.app import app
from client.workspace import Workspace, open_workspace
from common.errors import ImplausibleError
from common.masking.update import Update
from common.messages.exchanges import TrainRequest
from common.study.model import load_study
from server.federation.federation import Federation
from server.phases.networks import rows_per_fold, train_variant
from server.progress.events import Events
from sim.engines.inprocess import SERVER_NODE, InProcessGrid, task_identity
from sim.sites import place_sites, with_identities

HOSPITALS = ("north", "south", "west", "harbour")


@pytest.fixture(autouse=True)
def server_identity() -> Iterator[None]:
    open_workspace.cache_clear()
    with task_identity(SERVER_NODE):
        yield


@pytest.fixture
def federation(imaging_master: Path, imaging_cache: Path, tmp_path: Path) -> Federation:
    """Hospitals of one network that is trained for three rounds, with a fold to choose by."""
    study = with_identities(load_study(imaging_master / "study.toml"))
    network = study.dl3d.model_copy(update={"rounds": 3, "select": "best", "average_last": 0.0})
    changes = {
        "base_models": ("clinical", "dl3d"),
        "fusion_models": (),
        "dl3d": network,
        "privacy": study.privacy.model_copy(update={"min_rows": 6}),
    }
    folders = {name: imaging_master / name for name in HOSPITALS}
    sites = place_sites(folders, tmp_path / "run", imaging_cache, exclude_bad_patients=False)
    study = study.model_copy(update=changes)
    events = Events(tmp_path / "events.jsonl")
    found = Federation(InProcessGrid(app, sites), study, "r", events)
    found.enrol()
    return found


def lie(monkeypatch: pytest.MonkeyPatch, number: int, factor: float) -> None:
    """West multiplies its update of one round, and turns it round."""
    honest = client.training.round.train_network

    def train(workspace: Workspace, request: TrainRequest) -> Update:
        update = honest(workspace, request)
        if workspace.name == "west" and request.plan.round == number and update.change.size:
            return replace(update, change=update.change * np.float32(-factor))
        return update

    monkeypatch.setattr(client.training.round, "train_network", train)


def trained(federation: Federation) -> list[dict[str, Any]]:
    folds = rows_per_fold(federation)
    train_variant(federation, "dl3d", "fold0", folds, 3)
    return federation.objections


def test_nobody_objects_to_honest_updates(federation: Federation) -> None:
    assert trained(federation) == []


def test_hospitals_object_to_weights_that_one_of_them_spoilt(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    lie(monkeypatch, number=1, factor=60.0)
    found = trained(federation)
    assert {one["round"] for one in found} >= {2}
    assert len({one["site"] for one in found}) >= 2
    assert all(one["after"] > 3 * one["before"] for one in found)


def test_an_update_a_thousand_times_as_large_stops_the_run(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    lie(monkeypatch, number=1, factor=3000.0)
    with pytest.raises(ImplausibleError, match="nobody can prove which one"):
        trained(federation)
