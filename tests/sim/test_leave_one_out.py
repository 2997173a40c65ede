"""A study without each of its training hospitals in turn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from client.store.run_files import RunTables
from common.errors import UsageError
from common.study.model import Study, load_study, write_study
from sim.leave_one_out import LEFT_OUT, check_enough, left_out_study, write_left_out_cohort
from sim.run import PATHS, local_study, pooled_study, unrestricted
from tests import builders
from tests.fixtures.programs import run_simulation

SITES = ("a", "b", "c")


def test_the_others_train_and_the_one_left_out_is_tested_alone() -> None:
    study = builders.study(
        sites="abcd", visitors="e", tests={"far": ("external_test", "e")}, **builders.ALL_MODELS
    )
    reference = left_out_study(study, "b", unrestricted(study))
    assert reference.training_sites == ("a", "c", "d")
    assert reference.site_names == ("a", "b", "c", "d")
    (test,) = reference.test_sets
    assert (test.sites, test.split) == (("b",), "external_test")
    assert reference.fusion == study.fusion
    assert {name: reference.network(name) for name in study.networks} == {
        name: study.network(name) for name in study.networks
    }


@pytest.mark.parametrize(
    "derive",
    [pooled_study, lambda study: local_study(study, "b"), lambda study: _without(study, "b")],
    ids=["pooled", "local", "leave-one-out"],
)
def test_the_study_of_every_reference_is_read_again_where_a_primary_comparison_is_declared(
    derive: Callable[[Study], Study], tmp_path: Path
) -> None:
    primary = {"model_a": "fusion_decision", "model_b": "clinical", "set": "far"}
    study = builders.study(
        sites="abcd",
        visitors="e",
        tests={"far": ("external_test", "e")},
        analysis={"primary": primary},
        **builders.ALL_MODELS,
    )
    file = write_study(derive(study), tmp_path / "study.toml")
    assert load_study(file).base_models == study.base_models


def _without(study: Study, name: str) -> Study:
    return left_out_study(study, name, unrestricted(study))


def test_two_that_remain_pool_no_rows() -> None:
    study = builders.study(sites="abc", **builders.ALL_MODELS)
    reference = left_out_study(study, "a", unrestricted(study))
    assert (reference.fusion.pooling, reference.fusion.stacker) == ("bins", "forest")
    with pytest.raises(UsageError, match=r"2 hospital\(s\) train"):
        check_enough(left_out_study(study, "a", unrestricted(study)))


def test_all_patients_of_the_hospital_are_tested_with_files_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "cohort.csv").write_text(
        "patient_id,label,split,image,mask\n"
        "1,0,train,images/1.nii.gz,masks/1.nii.gz\n"
        "2,1,internal_test,images/2.nii.gz,masks/2.nii.gz\n"
        "3,1,external_test,images/3.nii.gz,masks/3.nii.gz\n",
        encoding="utf-8",
    )
    write_left_out_cohort(tmp_path, tmp_path / "out", PATHS)
    frame = pd.read_csv(tmp_path / "out" / "cohort.csv")
    assert frame["patient_id"].tolist() == [1, 2]
    assert set(frame["split"]) == {"external_test"}
    assert frame["image"].tolist() == [str(tmp_path / f"images/{i}.nii.gz") for i in (1, 2)]


def test_every_training_hospital_is_left_out_once(tabular: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = run_simulation(tabular, SITES, out, "--reference", "leave-one-out")
    assert done.returncode == 0, done.stderr + done.stdout
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    rows = {row["site"]: row for row in results["leave_one_out"]}
    assert set(rows) == set(SITES)
    assert {row["run"] for row in results["performance"]} == {"federated"}
    for name, row in rows.items():
        folder = out / "references" / f"without-{name}"
        assert load_study(folder / "input" / "study.toml").training_sites == tuple(
            one for one in SITES if one != name
        )
        frame = pd.read_csv(tabular / name / "cohort.csv")
        own = frame[frame["split"].isin(["train", "internal_test"])]
        assert (row["n"], row["positives"]) == (len(own), int(own["label"].sum()))
        work = folder / "sites" / name / "work"
        (run,) = (work / "runs").iterdir()
        tables = RunTables(work, run.name)
        stored = tables.read("scores", LEFT_OUT)
        labels = dict(zip(own["patient_id"], own["label"], strict=True))
        label = np.array([labels[patient] for patient in stored.patients])
        area = roc_auc_score(label, stored.values[:, 0])
        assert row["auc"] == pytest.approx(area, abs=1e-3)
        assert row["ci_low"] < row["auc"] < row["ci_high"]
        assert row["slope_low"] < row["slope"] < row["slope_high"]
    page = (out / "report" / "index.html").read_text(encoding="utf-8")
    assert "How models do at a hospital that did not train them" in page
    summary = (out / "tables" / "leave_one_out_summary.csv").read_text(encoding="utf-8")
    assert summary.count("clinical,") == 3
