"""One deployment on loopback that the tests of this folder share."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import builders

TRAINING = ("north", "south", "west")
COPIES = {"east": "north"}


def _beside(name: str) -> Any:
    """A module beside this file."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def kit() -> Path:
    """The kit that `make kit` has written, which takes minutes and is needed by several tests."""
    folder = Path(__file__).parents[2] / "build" / "kit"
    assert folder.is_dir(), (
        "run `make kit`, or the tests by `make kit-test` or `make container-test`"
    )
    return folder


@pytest.fixture(scope="session")
def staging() -> Any:
    """The module stage.py."""
    return _beside("stage")


@pytest.fixture(scope="session")
def stage(
    staging: Any, tabular_master: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Three hospitals and a coordinator, set up; nothing runs."""
    root = tmp_path_factory.mktemp("deployment")
    yield from _set_up(staging, tabular_master, root)


@pytest.fixture(scope="session")
def network_stage(
    staging: Any,
    imaging_master: Path,
    imaging_cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    """Three hospitals with images that train one small network, and a coordinator, set up."""
    root = tmp_path_factory.mktemp("network")
    hospitals = _with_images(root / "data", imaging_master, TRAINING)
    yield from _set_up(staging, hospitals, root / "deployment", imaging_cache)


@pytest.fixture(scope="session")
def quorum_stage(
    staging: Any,
    imaging_master: Path,
    imaging_cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    """Four hospitals, of which three are enough for a round, and a coordinator, set up."""
    root = tmp_path_factory.mktemp("quorum")
    blocks = {
        "training": {"quorum": 3, "patience": 1.0},
        # several runs of one study, in each of which rounds go on without a hospital
        "privacy": {"max_departures": 60},
    }
    hospitals = _with_images(root / "data", imaging_master, (*TRAINING, *COPIES), **blocks)
    yield from _set_up(staging, hospitals, root / "deployment", imaging_cache)


def _with_images(folder: Path, master: Path, sites: Sequence[str], **blocks: Any) -> Path:
    """Hospitals with images, some of them copies, and a study of one small network."""
    folder.mkdir()
    for name in sites:
        shutil.copytree(master / COPIES.get(name, name), folder / name)
    (folder / "study.toml").write_bytes((master / "study.toml").read_bytes())
    builders.amend(
        folder / "study.toml",
        sites=sites,
        tests={"internal": ("internal_test", sites)},
        base_models=["dl2d"],
        fusion_models=[],
        **blocks,
    )
    return folder


def _set_up(staging: Any, hospitals: Path, root: Path, *cache: Path) -> Iterator[Any]:
    made = staging.build(hospitals, root, _beside("line").Line, *cache)
    yield made
    for line in made.lines.values():
        line.close()


@pytest.fixture
def stranger(stage: Any, staging: Any) -> Iterator[Path]:
    """A hospital with an invitation and keys of its own that nobody has enrolled."""
    data, port = stage.rehearsal.data["a"], stage.hub.settings().public_port
    folder = staging.add_site(stage.rehearsal, "stranger", data, port)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A clock that is right until a test puts it wrong."""
    return _beside("clock").Clock(tmp_path_factory.mktemp("clock"))
