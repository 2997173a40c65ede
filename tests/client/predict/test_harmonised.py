"""Predictions of models on harmonised features: a study whose scanners are batches."""

from __future__ import annotations

import csv
import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from client.store.batches import FILE, find_batches
from client.store.run_files import RunTables
from common.bundle.bundle import Bundle, digest_of, read_files
from common.transforms.harmonise import harmonising_steps
from tests.client.predict.conftest import KEY, Call
from tests.fixtures.programs import run_simulation

SITES = ("north", "south", "west", "harbour")
NEW = "a new one"


def add_scanners(path: Path) -> None:
    """Two scanners for the training patients of a hospital, and one nobody trained on for a test.

    One of the two has too few patients for a batch of its own.
    """
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    train = [row for row in rows if row["split"] == "train"]
    for place, row in enumerate(train):
        row["scanner"] = "old" if place < 3 else "usual"
    tests = [row for row in rows if row["split"] == "internal_test"]
    for place, row in enumerate(tests):
        row["scanner"] = NEW if place == 0 else "usual"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def hospitals(imaging_master: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("harmonised") / "hospitals"
    shutil.copytree(imaging_master, folder)
    add_scanners(folder / "north" / "cohort.csv")
    study = tomllib.loads((folder / "study.toml").read_text(encoding="utf-8"))
    study["base_models"] = ["clinical", "radiomics", "dl2d"]
    study["fusion_models"] = ["fusion_feature", "fusion_decision"]
    study["strata"], study["dl2d"]["rounds"] = [], 1
    study["harmonisation"] = {
        "tables": ["radiomics", "deep"],
        "covariates": ["age", "sex"],
        "batch": "scanner",
        "unseen": "own",
        "min_batch": 6,
    }
    (folder / "study.toml").write_text(tomli_w.dumps(study), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def finished(hospitals: Path, imaging_cache: Path) -> Path:
    """The run: its first hospital derives every question."""
    out = hospitals.parent / "run"
    done = run_simulation(hospitals, SITES, out, "--cache", imaging_cache)
    assert done.returncode == 0, done.stderr + done.stdout
    return out


def scores(run: Path, site: str, subset: str) -> dict[str, dict[str, float]]:
    table = RunTables(run / "sites" / site / "work", "federated").read("scores", subset)
    return {
        patient: dict(zip(table.columns, row.tolist(), strict=True))
        for patient, row in zip(table.patients, table.values, strict=True)
    }


def predicted(tree: Any) -> dict[str, dict[str, float]]:
    return {
        one["patient"]: {row["model"]: row["probability"] for row in one["models"]}
        for one in tree["patients"]
    }


def notes(tree: Any, patient: str) -> str:
    (found,) = [one["notes"] for one in tree["patients"] if one["patient"] == patient]
    return " ".join(found)


def of_split(hospitals: Path, site: str, split: str) -> Path:
    """A cohort.csv of the patients with this split, beside the hospital's own."""
    folder = hospitals / site
    with (folder / "cohort.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    path = folder / f"{split}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_hospital_that_trained_predicts_with_what_it_kept_as_it_was_evaluated(
    hospitals: Path, finished: Path, call: Call
) -> None:
    cohort = of_split(hospitals, "north", "internal_test")
    words: list[object] = [finished / "bundle", "--coordinator-key", KEY, "--cohort", cohort]
    kept = finished / "sites" / "north" / "work" / "runs" / "federated" / FILE
    done = call(*words, "--batches", kept, "--json")
    assert done.code == 0, done.err
    expected, found = scores(finished, "north", "internal"), predicted(done.tree)
    assert set(found) == set(expected)
    for patient, own in expected.items():
        for model, probability in own.items():
            assert found[patient][model] == pytest.approx(probability, abs=1e-6)
    new, *usual = list(expected)
    assert "features are used as they are" in notes(done.tree, new)
    assert all("this hospital's training patients" in notes(done.tree, one) for one in usual)
    without = predicted(call(*words, "--json").tree)
    for model in ("radiomics", "fusion_feature"):
        assert any(abs(without[one][model] - expected[one][model]) > 1e-4 for one in usual)


def test_a_hospital_that_only_tests_predicts_by_estimates_from_its_patients(
    hospitals: Path, finished: Path, call: Call
) -> None:
    words: list[object] = [finished / "bundle", "--coordinator-key", KEY]
    done = call(*words, "--cohort", hospitals / "harbour" / "cohort.csv", "--json")
    assert done.code == 0, done.err
    expected, found = scores(finished, "harbour", "external_1"), predicted(done.tree)
    for patient, own in expected.items():
        assert found[patient] == pytest.approx(own, abs=1e-6)
        assert "estimates from the patients of this prediction" in notes(done.tree, patient)
    assert (
        find_batches(finished / "sites" / "harbour" / "work", done.tree["bundle"]["digest"]) is None
    )


def test_what_a_hospital_keeps_names_its_scanners_and_is_for_one_bundle(
    finished: Path, call: Call, tmp_path: Path
) -> None:
    files = read_files(finished / "bundle")
    work = finished / "sites" / "north" / "work"
    kept = find_batches(work, digest_of(files))
    assert kept is not None
    assert kept.scanners == (NEW, "old", "usual")
    # features of the network are among them where the fusion keeps any
    steps = [
        one for view in Bundle.from_files(files).models.values() for one in harmonising_steps(view)
    ]
    assert set(kept.effects) == {before.source.name for before, _ in steps} >= {"radiomics"}
    # the few patients of one scanner are joined with the others; of the new one nothing is known
    assert kept.effects["radiomics"].joined.tolist() == [-1, 0, 0]
    assert find_batches(work, "0" * 64) is None
    other = tmp_path / FILE
    other.write_bytes(b"no such file")
    for path in (other, tmp_path / "nowhere"):
        done = call(
            *(finished / "bundle", "--coordinator-key", KEY, "--clinical", "age=60"),
            *("--batches", path),
        )
        assert done.code == 1


def test_neither_the_bundle_nor_the_results_know_a_scanner_or_a_batch(finished: Path) -> None:
    models = Bundle.from_files(read_files(finished / "bundle")).models
    steps = [step for view in models.values() for _, step in harmonising_steps(view)]
    assert steps and all(step.unseen == "own" and step.fewest == 6 for step in steps)
    assert {type(vars(step.common)[name]) for step in steps for name in vars(step.common)} == {
        np.ndarray
    }
    for path in (finished / "results.json", finished / "bundle" / "bundle.json"):
        assert NEW not in path.read_text(encoding="utf-8")
    results = json.loads((finished / "results.json").read_text(encoding="utf-8"))
    assert results["settings"]["harmonisation"]["covariates"] == ["age", "sex"]
    for model in ("radiomics", "dl2d"):
        notes_of = results["selection"]["federated"][model]["notes"]
        assert any("harmonised over scanners (ComBat)" in note for note in notes_of)
