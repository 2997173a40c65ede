"""The worked example of docs/extending.md adds a strategy in one file."""

from __future__ import annotations

import doctest
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import strategies as folder
from client.app import app
from client.workspace import open_workspace
from common.bundle.bundle import Bundle, read_files
from common.errors import InputError
from common.networks.flat import flatten
from common.networks.initial import initial_network
from common.study.model import load_study, write_study
from common.study.strategy import find_strategy, forget
from server.app import run_configured_study
from server.progress.events import Events
from sim.engines.inprocess import SERVER_NODE, InProcessGrid, task_identity
from sim.sites import place_coordinator, place_sites, with_identities

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "extending" / "strategy.py"
HOSPITALS = ("north", "south", "west", "harbour")
ROUNDS, LONGEST = 2, 0.001


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The example in the folder of strategies, and nothing else anywhere."""
    added = tmp_path_factory.mktemp("strategies")
    shutil.copy(EXAMPLE, added / "fedclip.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder, "__path__", [*folder.__path__, str(added)])
        find_strategy("fedclip")
        yield
    forget("fedclip")


@pytest.fixture(scope="module")
def run(
    example: None,
    imaging_master: Path,
    imaging_cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, Any]]:
    """One network of four hospitals, under masks."""
    out = tmp_path_factory.mktemp("fedclip")
    study = with_identities(load_study(imaging_master / "study.toml"))
    own = {"strategy": "fedclip", "strategy_options": {"longest_step": LONGEST}}
    block = study.dl3d.model_dump() | own | {"rounds": ROUNDS, "average_last": 0.0, "norm": "group"}
    changes = {"base_models": ("dl3d",), "fusion_models": (), "folds": 3, "dl3d": block}
    changed = type(study).model_validate(study.model_dump() | changes)
    assert changed.privacy.masking == "required"
    file = write_study(changed, out / "study.toml")
    open_workspace.cache_clear()
    folders = {name: imaging_master / name for name in HOSPITALS}
    sites = place_sites(folders, out / "run", imaging_cache, exclude_bad_patients=False)
    config = {
        "study": str(file),
        "out": str(out / "run"),
        "label": "federated",
        "identity": str(place_coordinator(out / "input")),
    }
    with task_identity(SERVER_NODE):
        grid = InProcessGrid(app, sites)
        tree = run_configured_study(grid, config, Events(out / "run" / "events.jsonl"))
    return out / "run", tree


def test_a_whole_study_takes_steps_of_the_length_it_allows(
    run: tuple[Path, dict[str, Any]],
) -> None:
    out, tree = run
    study = load_study(out / "study.toml")
    model, _ = initial_network("dl3d", study.dl3d, seed=study.seed)
    trained = Bundle.from_files(read_files(out / "bundle")).networks["dl3d"]
    moved = float(np.linalg.norm(trained.astype(np.float64) - flatten(model)))
    assert 0 < moved <= ROUNDS * LONGEST * 1.001
    assert moved > LONGEST  # both steps count
    assert tree["settings"]["dl3d"]["strategy_options"] == {"longest_step": LONGEST}


@pytest.mark.usefixtures("example")
def test_its_options_are_checked(imaging_master: Path, tmp_path: Path) -> None:
    text = (imaging_master / "study.toml").read_text("utf-8")
    assert "[dl3d]\n" in text
    wrong = text.replace(
        "[dl3d]\n", '[dl3d]\nstrategy = "fedclip"\nstrategy_options.longest_step = 0\n'
    )
    (tmp_path / "study.toml").write_text(wrong, encoding="utf-8")
    with pytest.raises(InputError, match="longest_step: Input should be greater than 0"):
        load_study(tmp_path / "study.toml")


@pytest.mark.usefixtures("example")
def test_its_own_example_runs() -> None:
    done = doctest.testmod(sys.modules["strategies.fedclip"])
    assert (done.attempted, done.failed) == (2, 0)
