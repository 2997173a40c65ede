"""Other processors, stood in for by other kernels: they ask the same questions, bit by bit."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.processors import OLD, PROCESSORS
from client.app import app
from client.store.derived_files import MOST_APART
from common.ledger.entry import request_digest
from common.messages.plain import write_plain
from common.study.model import Study, load_study
from server.federation.federation import Federation
from server.phases.plausible import Plausibility
from sim.engines.inprocess import SERVER_NODE, InProcessGrid, task_identity
from sim.sites import place_sites
from tests import builders
from tests.processors import run_on
from tests.server.phases.replay import DEEP, PROGRAMS, Recording

WHAT = {"study": "study", "linear": "features", "rbf": "features"}
"""Names of the recorded programs, and which of `PROGRAMS` each is."""
RBF = {"svm": {"kernel": "rbf", "landmarks": 24, "max_rounds": 6}}


class Coordinator(Federation):
    """Keeps all that it learns."""

    def keep(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sums: list[Any] = []
        self.values: dict[str, Any] = {}
        self.replies: dict[str, Any] = {}
        self.digests: list[str] = []
        check = Plausibility.check_sum

        def check_sum(checks: Plausibility, item: Any, sums: Any, site: str = "") -> None:
            if not site:
                self.sums.append(sums)
            check(checks, item, sums, site)

        monkeypatch.setattr(Plausibility, "check_sum", check_sum)

    def sum_many(self, items: Any) -> list[Any]:
        self.digests.append(request_digest("sum", tuple(items)))
        return super().sum_many(items)

    def agreed(self, name: str, value: Any, apart: Callable[[Any], float]) -> Any:
        assert name not in self.values, "each value is agreed on once a study"
        self.values[name] = super().agreed(name, value, apart)
        return self.values[name]

    def evaluate(self, files: Any, edges: Any, cuts: Mapping[str, float]) -> Any:
        self.digests.append(request_digest("evaluate", dict(files), edges, dict(cuts)))
        self.replies = super().evaluate(files, edges, cuts)
        return self.replies


def of_the_tabular_study(folder: Path, tmp_path: Path) -> Coordinator:
    """The three tabular hospitals, with a column of each kind that Table 1 knows."""
    marker, _, *others = builders.TABULAR["clinical"]
    age = builders.number("age", unit="years", summary="median", decimals=0)
    builders.amend(
        folder / "study.toml",
        strata=["sex", "age"],
        clinical=[marker, age, *others],
        privacy={"masking": "off"},
        fusion={"pooling": "bins"},
    )
    folders = {name: folder / name for name in ("a", "b", "c")}
    sites = place_sites(folders, tmp_path, tmp_path / "cache", exclude_bad_patients=False)
    made = Coordinator(InProcessGrid(app, sites), load_study(folder / "study.toml"), "program")
    made.enrol()
    return made


def of_many_columns(study: Study) -> Coordinator:
    """Hospitals in memory with a few clinical columns and many features, some of them skewed."""
    rng = np.random.default_rng(1)
    label = (rng.random(150) < 0.4).astype(float)
    factors = rng.normal(size=(150, 8)) + 0.5 * label[:, None]
    wide = factors @ rng.normal(size=(8, 24)) + 0.5 * rng.normal(size=(150, 24))
    deep = np.exp(0.4 * factors @ rng.normal(size=(8, DEEP)) + 0.2 * rng.normal(size=(150, DEEP)))
    tables = (
        builders.split(factors[:, :3], label),
        builders.split(wide, label, table="radiomics", prefix="f"),
        builders.split(deep, label, table="deep", prefix="d"),
    )
    sites = {name: {k: v for one in tables for k, v in one[name].items()} for name in tables[0]}
    plain = builders.federation(sites, study)
    made = Coordinator(plain.grid, study, "memory")
    made.nodes, made.members = plain.nodes, plain.members
    return made


def wide_study(**settings: Any) -> Study:
    models = {"base_models": ["clinical", "radiomics"], "fusion_models": ["fusion_feature"]}
    return builders.open_study(3, **models, **settings)


def record(coordinator: Coordinator, program: str, folder: Path) -> tuple[Path, list[str]]:
    """Return a file with all that a coordinator has learnt, and the digests of what it asked."""
    with pytest.MonkeyPatch.context() as patch:
        coordinator.keep(patch)
        PROGRAMS[program](coordinator)
    recording = Recording(
        program=program,
        study=coordinator.study.model_dump_json(),
        members=dict(coordinator.members),
        sums=tuple(coordinator.sums),
        agreed=coordinator.values,
        replies=coordinator.replies,
    )
    write_plain(folder / "recording.safetensors", recording)
    return folder / "recording.safetensors", coordinator.digests


@pytest.fixture(scope="module")
def recorded(
    tabular_master: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, list[str]]]:
    """A study and two programs of many columns, each with a file and what it asked."""
    folders = {name: tmp_path_factory.mktemp(name) for name in WHAT}
    shutil.copytree(tabular_master, folders["study"] / "hospitals")
    with task_identity(SERVER_NODE):
        made = {
            "study": of_the_tabular_study(folders["study"] / "hospitals", folders["study"]),
            "linear": of_many_columns(wide_study()),
            "rbf": of_many_columns(wide_study(**RBF)),
        }
        return {name: record(made[name], program, folders[name]) for name, program in WHAT.items()}


@pytest.fixture(scope="module")
def replays(recorded: dict[str, tuple[Path, list[str]]]) -> dict[str, dict[str, Any]]:
    """Questions of each processor, by name of the program and of the processor."""
    files = [str(recorded[name][0]) for name in WHAT]
    found = {name: replay(one, "theirs", *files) for name, one in PROCESSORS.items()}
    return {
        what: {name: results[place] for name, results in found.items()}
        for place, what in enumerate(WHAT)
    }


def replay(processor: dict[str, str], variant: str, *files: str) -> list[Any]:
    found: list[Any] = run_on(processor, "tests.server.phases.replay", variant, *files)
    return found


@pytest.mark.parametrize("what", WHAT)
def test_every_processor_asks_the_same(
    recorded: dict[str, tuple[Path, list[str]]], replays: dict[str, dict[str, Any]], what: str
) -> None:
    asked = recorded[what][1]
    assert set(replays[what]) == set(PROCESSORS)
    for name, found in replays[what].items():
        assert found["asked"] == asked, name
        assert found["together"] < MOST_APART / 20, name


def test_a_processor_that_goes_on_with_its_own_solutions_asks_otherwise(
    recorded: dict[str, tuple[Path, list[str]]],
) -> None:
    file, asked = recorded["linear"]
    (own,) = replay(OLD, "own", str(file))
    assert "deep/axes/0" in own["other_bits"]
    assert own["asked"] != asked
    assert len(own["asked"]) == len(asked)


def test_a_program_that_computes_with_the_library_asks_otherwise(
    recorded: dict[str, tuple[Path, list[str]]],
) -> None:
    file, asked = recorded["study"]
    (found,) = replay(OLD, "library", str(file))
    assert found["asked"] != asked
