"""A whole study with images, all six models, on both engines."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from client.data.cohort import read_cohort
from client.imaging.prepared import prepare_images
from client.site import SiteSettings
from common.study.model import load_study
from common.study.sums import subsets_of
from tests.conftest import IMAGING_SITES
from tests.fixtures.programs import run_simulation

MODELS = {"clinical", "radiomics", "dl2d", "dl3d", "fusion_feature", "fusion_decision"}


def results_of(run: Path) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((run / "results.json").read_text(encoding="utf-8"))
    return tree


@pytest.fixture
def finished(imaging_run: Path) -> Path:
    return imaging_run


def test_all_six_models_are_evaluated_on_every_set(finished: Path) -> None:
    rows = results_of(finished)["performance"]
    for name in ("train", "internal", "external_1"):
        assert {row["model"] for row in rows if row["set"] == name} == MODELS
    assert all(row["auc"] is not None for row in rows)


def test_what_the_hospitals_keep_of_images_is_for_one_user_alone(finished: Path) -> None:
    kept = [path for work in finished.rglob("work") for path in (work, *work.rglob("*"))]
    assert any("features" in path.name for path in kept)
    assert not [path for path in kept if path.stat().st_mode & 0o077]


def test_the_report_says_what_the_networks_started_from(finished: Path) -> None:
    warnings = " ".join(results_of(finished)["warnings"])
    assert "random weights" in warnings
    assert "computer-made" in warnings
    page = (finished / "report" / "index.html").read_text(encoding="utf-8")
    assert "random weights" in page
    assert "differs from the paper: Med3D" in page


def test_the_report_says_which_radiomics_features_these_are(finished: Path) -> None:
    settings = results_of(finished)["settings"]
    assert settings["radiomics"]["settings"] == "radiomics-original"
    assert "are those of radiomics-original, not the 1834" in " ".join(settings["remarks"])


def test_icc_uses_the_hospital_with_repeat_readings(finished: Path) -> None:
    selection = results_of(finished)["selection"]["federated"]["radiomics"]
    assert [step["step"] for step in selection["steps"]] == [
        "columns",
        "constant",
        "rare",
        "tied",
        "spearman",
        "icc",
        "lasso",
    ]
    assert any("ICC from 3 pairs of readings of 6 patients" in n for n in selection["notes"])


def test_the_axial_slices_of_each_set_are_those_that_the_hospitals_prepared(
    finished: Path, imaging_master: Path, imaging_cache: Path
) -> None:
    study = load_study(imaging_master / "study.toml")
    counted: Counter[str] = Counter()
    for name in IMAGING_SITES:
        site = SiteSettings(name=name, data=imaging_master / name, cache=imaging_cache, workers=1)
        cohort = read_cohort(imaging_master / name, name, study)
        images, _ = prepare_images(cohort.patients, site, study)
        for subset in subsets_of(study, name):
            patients = [p.patient_id for p in cohort.subset(study, subset)]
            counted[subset] += len(images.crops("dl2d", patients)[0])
    found = {row["set"]: row["slices"] for row in results_of(finished)["slices"]}
    assert found == counted


def test_patient_ids_are_in_no_file_of_the_server(finished: Path) -> None:
    for path in finished.rglob("*"):
        inside = path.relative_to(finished).parts
        if path.is_file() and inside[0] != "sites":
            assert b"north-001" not in path.read_bytes(), path


def test_the_bundle_scores_without_pickle(finished: Path) -> None:
    from common.bundle.bundle import Bundle, read_files

    bundle = Bundle.from_files(read_files(finished / "bundle"))
    assert set(bundle.models) == MODELS
    assert set(bundle.networks) == {"dl2d", "dl3d"}
    assert set(bundle.cutoffs) == MODELS


def test_both_engines_give_the_same_numbers(
    finished: Path, imaging_master: Path, imaging_cache: Path, tmp_path: Path
) -> None:
    out = tmp_path / "flower"
    options = ("--cache", imaging_cache, "--engine", "flower")
    done = run_simulation(imaging_master, IMAGING_SITES, out, *options)
    log = out / "flower.log"
    assert done.returncode == 0, done.stderr + (log.read_text()[-3000:] if log.is_file() else "")
    ours, flower = results_of(finished), results_of(out)
    for tree in (ours, flower):
        for key in ("timing", "run"):
            tree.pop(key)
    assert flower == ours
