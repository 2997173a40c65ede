"""Hospitals that derive every question change no number, and masked runs repeat to the last bit."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from client.app import app
from client.workspace import open_workspace
from common.study.model import Study, load_study, write_study
from server.app import run_configured_study
from server.progress.events import Events
from sim.engines.inprocess import SERVER_NODE, InProcessGrid, task_identity
from sim.sites import place_coordinator, place_sites, with_identities
from tests import builders

CLOCK = ("run", "timing")


@dataclass(frozen=True)
class Finished:
    """Results and the files of the bundle of one run."""

    results: dict[str, Any]
    bundle: dict[str, bytes]

    def without_what_deriving_takes(self) -> str:
        """Drop bytes, which totals add to, and what a hospital notes of its own deriving."""
        kept = {key: value for key, value in self.results.items() if key != "transfers"}
        kept["releases"] = [{**row, "stand_ins": None} for row in kept["releases"]]
        kept["canaries"] = len(kept["canaries"])
        kept["transfers"] = [
            (row["exchange"], row["messages"]) for row in self.results["transfers"]
        ]
        return json.dumps(kept)


def run(study: Study, data: Path, cache: Path, out: Path, verifying: Collection[str]) -> Finished:
    """Run a study in this process."""
    open_workspace.cache_clear()
    folders = {name: data / name for name in study.site_names}
    sites = place_sites(folders, out, cache, exclude_bad_patients=False, verifying=verifying)
    config = {
        "study": str(write_study(study, out / "input" / "study.toml")),
        "out": str(out),
        "label": "federated",
        "identity": str(place_coordinator(out / "input")),
    }
    with task_identity(SERVER_NODE):
        results = run_configured_study(InProcessGrid(app, sites), config, Events())
    found = {key: value for key, value in results.items() if key not in CLOCK}
    bundle = {path.name: path.read_bytes() for path in (out / "bundle").iterdir()}
    return Finished(found, bundle)


def tabular_study(folder: Path) -> Study:
    return load_study(folder / "study.toml")


def imaging_study(folder: Path) -> Study:
    """Clinical model and one network, two rounds."""
    study = builders.amended(
        folder / "study.toml", base_models=["clinical", "dl3d"], fusion_models=[]
    )
    return study.model_copy(
        update={"privacy": study.privacy.model_copy(update={"min_rows": 6}), "folds": 3}
    )


@pytest.fixture(scope="module", params=["tabular", "imaging"])
def runs(
    request: pytest.FixtureRequest,
    tabular_master: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Finished]:
    """Run one study under masks: twice where all hospitals derive, once where none does."""
    work = tmp_path_factory.mktemp(request.param)
    if request.param == "tabular":
        data, cache, study = tabular_master, work / "cache", tabular_study(tabular_master)
    else:
        data = request.getfixturevalue("imaging_master")
        cache = request.getfixturevalue("imaging_cache")
        study = imaging_study(data)
    study = with_identities(study)
    assert study.masked("train")
    everybody = study.training_sites
    return {
        name: run(study, data, cache, work / name, verifying)
        for name, verifying in (("first", everybody), ("second", everybody), ("without", ()))
    }


def test_two_masked_verified_runs_are_equal_to_the_last_bit(runs: dict[str, Finished]) -> None:
    first, second = runs["first"], runs["second"]
    assert json.dumps(first.results) == json.dumps(second.results)
    assert first.bundle == second.bundle
    assert "arrays.safetensors" in first.bundle


def test_verified_and_unverified_runs_have_the_same_results_and_models(
    runs: dict[str, Finished],
) -> None:
    with_, without = runs["first"], runs["without"]
    # a hospital that derives nothing says so
    assert {row["stand_ins"] for row in without.results["releases"]} == {None}
    assert 0 in {row["stand_ins"] for row in with_.results["releases"]}
    assert {row["searched"] for row in without.results["canaries"]} == {None}
    assert None not in {row["searched"] for row in with_.results["canaries"]}
    assert with_.without_what_deriving_takes() == without.without_what_deriving_takes()
    assert with_.bundle == without.bundle
