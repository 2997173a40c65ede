"""A whole study whose 2D network is a machine on the features that a LASSO keeps of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from client.store.run_files import RunTables
from common.bundle.bundle import Bundle, read_files
from common.masking import identity
from common.transforms.views import base_tables
from sim.sites import COORDINATOR, simulated_identity
from tests import builders
from tests.conftest import IMAGING_SITES
from tests.fixtures.programs import run_program, run_simulation


@pytest.fixture(scope="module")
def finished(
    imaging_master: Path, imaging_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("selecting")
    for name in IMAGING_SITES:
        (folder / name).symlink_to(imaging_master / name)
    study = (imaging_master / "study.toml").read_text(encoding="utf-8")
    (folder / "study.toml").write_text(study, encoding="utf-8")
    builders.amend(
        folder / "study.toml",
        base_models=["dl2d"],
        fusion_models=[],
        selection={"networks": "use"},
    )
    out = folder / "run"
    done = run_simulation(folder, IMAGING_SITES, out, "--cache", imaging_cache)
    assert done.returncode == 0, done.stderr + done.stdout
    return out


@pytest.fixture
def tree(finished: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((finished / "results.json").read_text(encoding="utf-8"))
    return found


def test_results_and_report_have_what_the_lasso_kept(finished: Path, tree: dict[str, Any]) -> None:
    chosen = tree["selection"]["federated"]["dl2d"]
    (kept,) = (step["names"] for step in chosen["steps"] if step["step"] == "lasso")
    assert kept
    assert list(chosen["svm"]["weights"]) == kept
    assert len(chosen["folds"]["others"]) == 3
    page = (finished / "report" / "index.html").read_text(encoding="utf-8")
    assert "Principal components" in page
    assert "a machine on what it keeps gives the probability" in page


def test_the_bundle_reads_the_networks_features_and_predicts_as_the_evaluation(
    finished: Path, imaging_master: Path, tree: dict[str, Any]
) -> None:
    bundle = Bundle.from_files(read_files(finished / "bundle"))
    assert base_tables(bundle.models["dl2d"]) == {"dl2d/final/features"}
    assert all(row["auc"] is not None for row in tree["performance"])
    cohort = imaging_master / "harbour" / "cohort.csv"
    key = identity.public_text(simulated_identity(COORDINATOR).public_key())
    given = (finished / "bundle", "--coordinator-key", key, "--cohort", cohort, "--json")
    done = run_program("client", "predict", *given)
    assert done.returncode == 0, done.stderr
    found = {
        one["patient"]: one["models"][0]["probability"]
        for one in json.loads(done.stdout)["patients"]
    }
    scores = RunTables(finished / "sites" / "harbour" / "work", "federated").read(
        "scores", "external_1"
    )
    assert found == {
        patient: pytest.approx(row[0], abs=1e-6)
        for patient, row in zip(scores.patients, scores.values, strict=True)
    }
