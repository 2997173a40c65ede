"""A whole study of a time to event whose network learns discrete hazards, fused with clinical."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from client.predict.pictures import integrated_gradients
from client.store.run_files import RunTables
from client.training.device import CPU
from common.bundle.bundle import Bundle, read_files
from common.masking import identity
from common.networks.resnet import network_with
from common.networks.size import network_size
from common.study.model import Study, load_study
from common.transforms.views import base_tables
from sim.sites import COORDINATOR, simulated_identity
from tests import builders
from tests.conftest import IMAGING_SITES
from tests.fixtures.programs import run_program, run_simulation

MODELS = ["clinical", "dl3d", "fusion_decision"]
GRID = {"column": "months", "ends": [6.0, 12.0, 18.0, 30.0], "horizons": [12.0]}


def with_months(master: Path, folder: Path) -> None:
    """Lay out a hospital's folder anew, with times: patients of the positive class are early."""
    folder.mkdir()
    for entry in master.iterdir():
        if entry.name != "cohort.csv":
            (folder / entry.name).symlink_to(entry)
    with (master / "cohort.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    random = np.random.default_rng(len(rows))
    with (folder / "cohort.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, [*rows[0], "months"])
        out.writeheader()
        for row in rows:
            early = row["label"] == "1"
            months = random.uniform(1.0, 16.0) if early else random.uniform(8.0, 29.0)
            out.writerow({**row, "months": round(months, 1)})


@pytest.fixture(scope="module")
def finished(
    imaging_master: Path, imaging_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("hazards")
    for name in IMAGING_SITES:
        with_months(imaging_master / name, folder / name)
    study = (imaging_master / "study.toml").read_text(encoding="utf-8")
    (folder / "study.toml").write_text(study, encoding="utf-8")
    builders.amend(
        folder / "study.toml",
        base_models=MODELS[:2],
        fusion_models=MODELS[2:],
        strata=[],
        follow_up=GRID,
    )
    out = folder / "run"
    done = run_simulation(folder, IMAGING_SITES, out, "--cache", imaging_cache)
    assert done.returncode == 0, done.stderr + done.stdout
    return out


@pytest.fixture
def tree(finished: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((finished / "results.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def study(finished: Path) -> Study:
    return load_study(finished / "study.toml")


def test_the_network_has_an_output_for_each_period_and_feeds_the_fusion(
    finished: Path, tree: dict[str, Any], study: Study
) -> None:
    bundle = Bundle.from_files(read_files(finished / "bundle"))
    size, _ = network_size("dl3d", study.dl3d, len(GRID["ends"]))
    assert bundle.networks["dl3d"].size == size
    assert base_tables(bundle.models["dl3d"]) == {"dl3d/final/hazard"}
    assert base_tables(bundle.models["fusion_decision"]) == {"clinical", "dl3d/final/hazard"}
    assert set(tree["fusion"]["federated"]["cox"]["log_hazard_ratios"]) == set(MODELS[:2])
    notes = " ".join(tree["selection"]["federated"]["dl3d"]["notes"])
    assert "multiplies the hazard by" in notes
    losses = tree["training"]["federated"]["dl3d"]["final"]["train_loss"]
    assert losses[-1] < losses[0]


def test_every_model_is_measured_on_the_set_that_hospitals_share(tree: dict[str, Any]) -> None:
    rows = {(row["model"], row["set"]): row for row in tree["follow_up"]}
    assert {model for model, _ in rows} == set(MODELS)
    for model in MODELS:
        assert 0.0 <= rows[model, "train"]["harrell"] <= 1.0
        assert rows[model, "train"]["predicted"] == pytest.approx(
            rows[model, "train"]["observed"], abs=0.15
        )


def test_a_prediction_has_the_risks_of_the_evaluation(finished: Path) -> None:
    cohort = finished.parent / "harbour" / "cohort.csv"
    key = identity.public_text(simulated_identity(COORDINATOR).public_key())
    given = (finished / "bundle", "--coordinator-key", key, "--cohort", cohort, "--json")
    done = run_program("client", "predict", *given)
    assert done.returncode == 0, done.stderr
    found = {
        one["patient"]: [score["probability"] for score in one["models"]]
        for one in json.loads(done.stdout)["patients"]
    }
    scores = RunTables(finished / "sites" / "harbour" / "work", "federated").read(
        "scores", "external_1"
    )
    assert list(scores.columns) == MODELS
    assert found == {
        patient: pytest.approx(row.tolist(), abs=1e-6)
        for patient, row in zip(scores.patients, scores.values, strict=True)
    }


def test_its_monai_bundle_gives_the_hazards_of_each_period_and_says_so(
    finished: Path, study: Study, tmp_path: Path
) -> None:
    done = run_program("server", "monai", finished)
    assert done.returncode == 0, done.stderr
    folder = finished / "monai" / "dl3d"
    bundle = Bundle.from_files(read_files(finished / "bundle"))
    shape = (3, 1, *([study.dl3d.input_size] * 3))
    crops = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    network = network_with(bundle.networks["dl3d"], "dl3d", study.dl3d, len(GRID["ends"])).eval()
    with torch.no_grad():
        _, logits = torch.jit.load(str(folder / "models" / "model.ts")).eval()(crops)
        _, expected = network(crops)
    assert logits.shape == (3, len(GRID["ends"]))
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)
    about = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
    said = about["network_data_format"]["outputs"]["pred"]
    assert said["num_channels"] == len(said["channel_def"]) == len(GRID["ends"])
    text = (folder / "docs" / "README.md").read_text(encoding="utf-8")
    assert "first 2 periods" in text and "not calibrated" in text


def test_a_saliency_map_adds_up_to_the_difference_in_the_cumulative_hazard(
    finished: Path, study: Study
) -> None:
    bundle = Bundle.from_files(read_files(finished / "bundle"))
    network = network_with(bundle.networks["dl3d"], "dl3d", study.dl3d, len(GRID["ends"]))
    crop = np.random.default_rng(2).random((study.imaging.crop3d_size,) * 3, dtype=np.float32)
    last = study.time_grid.last_periods[0]
    found = integrated_gradients(network, crop, study.dl3d, CPU, steps=64, last=last)
    assert found.explained == pytest.approx(1.0, abs=0.05)
    assert np.isfinite(found.values).all() and np.ptp(found.values) > 0


def test_the_manuscript_says_what_the_network_learned_from(finished: Path) -> None:
    page = (finished / "manuscript" / "index.html").read_text(encoding="utf-8")
    assert "an output for the hazard in each period" in page
