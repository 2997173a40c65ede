"""A coordinator that makes up a training of a network, or its weights, gets nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import SiteError
from common.messages.exchanges import Problem, Totals, TrainRequest
from tests.conftest import IMAGING_SITES

pytestmark = pytest.mark.slow
TRAINING = ("north", "south", "west")
SMALL: dict[str, Any] = {"base_models": ["clinical", "dl2d"], "fusion_models": []}


@pytest.fixture
def hospitals(imaging_master: Path, imaging_cache: Path, tmp_path: Path) -> Path:
    for name in IMAGING_SITES:
        (tmp_path / name).symlink_to(imaging_master / name)
    (tmp_path / "cache").symlink_to(imaging_cache)
    shutil.copy(imaging_master / "study.toml", tmp_path)
    return tmp_path


def another_rate(request: Any) -> Any:
    if not isinstance(request, TrainRequest):
        return None
    rate = float(np.nextafter(request.plan.learning_rate, 1.0))
    return replace(request, plan=replace(request.plan, learning_rate=rate))


def another_fold(request: Any) -> Any:
    if not isinstance(request, TrainRequest):
        return None
    fold = request.plan.excluded_fold
    return replace(request, plan=replace(request.plan, excluded_fold=fold + 1))


def chosen_weights(request: Any) -> Any:
    """Weights of the coordinator's own: a site that derives them is sent none."""
    if not isinstance(request, TrainRequest):
        return None
    known = request.weights.size
    weights = request.weights + np.float32(1e-6) if known else np.ones(1000, dtype=np.float32)
    return replace(request, weights=weights)


def another_update(request: Any) -> Any:
    """The sum of the last round's updates, with one weight moved by one unit of the ring."""
    for i, entry in enumerate(getattr(request, "progress", ())):
        if isinstance(entry, Totals) and entry.ring32.size > 1000:
            ring = entry.ring32.copy()
            ring[0] += np.uint32(1)
            forged = replace(entry, ring32=ring)
            return replace(
                request, progress=(*request.progress[:i], forged, *request.progress[i + 1 :])
            )
    return None


LIES = {
    "a learning rate by one unit in the last place": another_rate,
    "another fold": another_fold,
    "weights": chosen_weights,
    "an update by one unit": another_update,
}


def told_once(lie: Callable[[Any], Any]) -> Callable[[str, Any], Any]:
    """Lie in the first request that a lie fits, and be honest before and after."""
    told = []

    def ask(_: str, request: Any) -> Any:
        changed = None if told else lie(request)
        if changed is None:
            return request
        told.append(changed)
        return changed

    return ask


@pytest.mark.usefixtures("server_identity")
def test_every_site_derives_the_weights_of_a_network(
    hospitals: Path, tmp_path: Path, coordinator: Any
) -> None:
    trial = coordinator.rehearse(hospitals, verifying=TRAINING, **SMALL)
    grid = trial.run(tmp_path / "out")
    trained = [heard for heard in grid.heard if heard.kind == "train.network"]
    assert len(trained) > 6
    assert not any(heard.request.weights.size for heard in trained)
    assert not [heard for heard in grid.heard if isinstance(heard.reply, Problem)]


@pytest.mark.parametrize("name", LIES)
@pytest.mark.usefixtures("server_identity")
def test_a_made_up_training_ends_the_run(
    name: str, hospitals: Path, tmp_path: Path, coordinator: Any
) -> None:
    trial = coordinator.rehearse(hospitals, verifying=TRAINING, **SMALL)
    with pytest.raises(SiteError, match=r"phase dl2d, question \d+.*\(not_derived"):
        trial.run(tmp_path / "out", ask=told_once(LIES[name]))


@pytest.mark.parametrize("name", ["a learning rate by one unit in the last place", "weights"])
@pytest.mark.usefixtures("server_identity")
def test_a_site_that_does_not_derive_trains_as_it_is_asked(
    name: str, hospitals: Path, tmp_path: Path, coordinator: Any
) -> None:
    trial = coordinator.rehearse(hospitals, **SMALL)
    with pytest.raises(SiteError, match="another question"):  # by the reply's own echo
        trial.run(tmp_path / "out", ask=told_once(LIES[name]))
