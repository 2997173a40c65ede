"""A coordinator that makes up a training of a network, or its weights, gets nothing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from common.errors import SiteError
from common.messages.exchanges import Problem
from tests.attacks.lies import LIES_OF_TRAINING, Lie, tell_by_name
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


@pytest.mark.parametrize("name", LIES_OF_TRAINING)
@pytest.mark.usefixtures("server_identity")
def test_a_made_up_training_ends_the_run(
    name: str,
    hospitals: Path,
    tmp_path: Path,
    coordinator: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: Any,
) -> None:
    trial = coordinator.rehearse(hospitals, verifying=TRAINING, **SMALL)
    lie = tell_by_name(name, monkeypatch.setattr)
    with pytest.raises(SiteError, match=r"phase dl2d, question \d+.*\(not_derived"):
        trial.run(tmp_path / "out")
    assert set(lie.heard_by) == set(TRAINING)
    for site in TRAINING:
        assert re.search(rf"site {site}: phase dl2d, question \d+: ", caplog.text)


@pytest.mark.parametrize("name", ["a learning rate by one unit in the last place", "weights"])
@pytest.mark.usefixtures("server_identity")
def test_a_site_that_does_not_derive_trains_as_it_is_asked(
    name: str, hospitals: Path, tmp_path: Path, coordinator: Any
) -> None:
    trial = coordinator.rehearse(hospitals, **SMALL)
    with pytest.raises(SiteError, match="another question"):  # by the reply's own echo
        trial.run(tmp_path / "out", ask=Lie(LIES_OF_TRAINING[name]()))
