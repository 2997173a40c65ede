"""A study without images, from cohort.csv to report, beside its references."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.svm import LinearSVC

from common.study.model import load_study
from tests import builders
from tests.fixtures.programs import Finished, run_simulation

NAMES = ("a", "b", "c")
GROUPED = "DeLong, patients in groups of 3 or more (one site)"


def run_study(folder: Path, out: Path, *options: str, whole: bool = False) -> Finished:
    cache = out.parent / "cache"
    return run_simulation(folder, NAMES, out, "--cache", cache, *options, whole=whole)


@pytest.fixture(scope="module")
def finished(tabular_master: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    done = run_study(
        tabular_master, out, "--reference", "pooled", "--reference", "local", whole=True
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "report:" in done.stdout
    return out


def results_of(run: Path) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((run / "results.json").read_text(encoding="utf-8"))
    return tree


def test_a_run_leaves_what_the_architecture_says(finished: Path) -> None:
    for name in (
        "study.toml",
        "events.jsonl",
        "results.json",
        "transfers.csv",
        "report/index.html",
        "tables/performance.csv",
        "bundle/bundle.json",
        "bundle/arrays.safetensors",
    ):
        assert (finished / name).is_file(), name
    assert list((finished / "figures").glob("*.svg"))
    assert not list(finished.rglob("*.pkl"))


def test_what_the_hospitals_keep_is_for_one_user_alone(finished: Path) -> None:
    """The folder as well as every file in it; beside it lies what the server has for all."""
    kept = [path for work in finished.rglob("work") for path in (work, *work.rglob("*"))]
    assert any(path.name.startswith("scores.") for path in kept)
    open_to_others = [path for path in kept if path.stat().st_mode & 0o077]
    assert not open_to_others


def test_there_is_a_row_for_every_run_and_set(finished: Path) -> None:
    rows = results_of(finished)["performance"]
    found = {(row["run"], row["set"]) for row in rows}
    runs = ("federated", "pooled", "local:a", "local:b", "local:c")
    assert found == {(run, name) for run in runs for name in ("train", "internal", "external_1")}


def test_the_settings_of_the_federated_study_stand_in_the_results_and_on_the_page(
    finished: Path,
) -> None:
    study = json.loads(load_study(finished / "study.toml").model_dump_json())
    settings = results_of(finished)["settings"]
    for block in ("selection", "privacy", "fusion", "waiting"):
        assert settings[block] == study[block]  # not a reference's, which has no thresholds
    assert [column["name"] for column in settings["clinical"]] == ["marker", "age", "sex", "stage"]
    page = (finished / "report" / "index.html").read_text(encoding="utf-8")
    assert 'id="settings"' in page and "reconstruction" not in page


def test_federated_equals_pooled_within_the_histograms_error(finished: Path) -> None:
    rows = {(r["run"], r["set"]): r for r in results_of(finished)["performance"]}
    assert {name for (_, name), r in rows.items() if r["apparent_auc"] is not None} == {"train"}
    for name in ("train", "internal", "external_1"):
        federated, pooled = rows["federated", name], rows["pooled", name]
        assert federated["n"] == pooled["n"]
        # the internal set has 336 pairs of patients: two of them; the external one has 30 patients
        # at one site, in groups of three
        error = 0.015 if name == "external_1" else 6e-3
        assert federated["auc"] == pytest.approx(pooled["auc"], abs=error)
        assert federated["cutoff"] == pytest.approx(pooled["cutoff"], abs=2e-3)


def test_only_references_evaluate_a_set_at_one_site_exactly(finished: Path) -> None:
    rows = [r for r in results_of(finished)["performance"] if r["set"] == "external_1"]
    for row in rows:
        own = GROUPED if row["run"] == "federated" else "DeLong, exact (one site)"
        assert row["method"] == own


def test_sites_evaluate_their_own_part_of_a_set_or_say_why_not(finished: Path) -> None:
    results = results_of(finished)
    rows = [r for r in results["site_performance"] if r["run"] == "federated"]
    assert {(r["set"], r["site"], r["n"]) for r in rows} == {
        ("internal", "a", 15),
        ("internal", "b", 12),
    }
    assert {r["method"] for r in rows} == {GROUPED}
    assert all(r["ci_low"] < r["auc"] < r["ci_high"] for r in rows)
    notes = [r for r in results["refusals"] if r["run"] == "federated"]
    assert [(n["site"], n["rule"], n["threshold"]) for n in notes] == [("c", "test_class", 5)]


def test_the_dossier_of_a_run_has_the_figures_measured_on_it(finished: Path) -> None:
    text = (finished / "privacy-dossier.md").read_text(encoding="utf-8")
    results = results_of(finished)
    attacked = [row for row in results["membership"] if row["run"] == "federated"]
    asked = [row for row in results["releases"] if row["run"] == "federated"]
    assert f"AUC: {max(row['auc'] for row in attacked):.2f} (" in text
    assert f"in a set that was asked about: {min(row['smallest'] for row in asked)}, at" in text


def test_every_hospital_with_enough_patients_attacks_the_final_models_itself(
    finished: Path,
) -> None:
    rows = results_of(finished)["membership"]
    enrolled = {row["site"]: row["sets"] for row in results_of(finished)["participants"]}
    # the internal patients of c are too few, see above, and those of its external set enough
    tests = {"a": "internal", "b": "internal", "c": "external_1"}
    assert [row["site"] for row in rows] == list(tests)
    for row in rows:
        counts = {name: one["n"] for name, one in enrolled[row["site"]].items()}
        assert (row["members"], row["others"]) == (counts["train"], counts[tests[row["site"]]])
        for measure in ("auc", "tpr"):
            ends = [row[f"{measure}_low"], row[measure], row[f"{measure}_high"]]
            assert ends == sorted(ends) and [round(one, 2) for one in ends] == ends
    page = (finished / "report" / "index.html").read_text(encoding="utf-8")
    assert 'id="privacy-audit"' in page


def test_no_patient_is_determined_by_the_sets_that_were_asked_about(finished: Path) -> None:
    results = results_of(finished)
    rows = {row["site"]: row for row in results["releases"]}
    enrolled = {row["site"]: row["sets"] for row in results["participants"]}
    assert rows.keys() == enrolled.keys()
    for site, row in rows.items():
        assert row["determined"] == 0 and row["epsilon"] == 0.0
        # the first hospital derives the questions, with the coordinator's own solvers
        assert row["stand_ins"] == (0 if site == "a" else None)
        assert 0 < row["smallest"] <= min(one["n"] for one in enrolled[site].values())


def test_canaries_are_measured_where_questions_are_derived_and_nowhere_else(
    finished: Path,
) -> None:
    rows = [row for row in results_of(finished)["canaries"] if row["run"] == "federated"]
    figures = {(row["site"], row["decoder"]): row for row in rows}
    assert len(figures) == len(rows) == 12
    searched = figures["a", "cells"]
    assert searched["searched"] >= 2 and searched["planted"] == 9
    joined = figures["a", "differences"]
    assert (joined["planted"], joined["found"], joined["patients_found"]) == (9, 0, 0)
    for row in rows:
        measured = {row[name] for name in ("searched", "found", "chance", "patients_found")}
        assert (measured == {None}) == (row["site"] != "a")
    page = (finished / "report" / "index.html").read_text(encoding="utf-8")
    assert "made-up patients" in page and "not measured" in page
    text = (finished / "privacy-dossier.md").read_text(encoding="utf-8")
    assert f"intervals that hold one: {searched['found']} of 9 found" in text
    assert "not measured at b, c, which derive no question" in text


def test_a_set_too_small_to_be_told_of_does_not_stop_the_study(
    tabular: Path, tmp_path: Path
) -> None:
    builders.amend(tabular / "study.toml", privacy={"min_rows": 35})
    rows = (tabular / "c" / "cohort.csv").read_text(encoding="utf-8").splitlines()
    external = [row for row in rows if ",1,external_test," in row]
    for row in external[1:]:  # one patient alone has the endpoint
        rows[rows.index(row)] = row.replace(",1,external_test,", ",0,external_test,")
    (tabular / "c" / "cohort.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    done = run_study(tabular, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    results = results_of(tmp_path / "run")
    (row,) = [r for r in results["performance"] if r["set"] == "external_1"]
    assert (row["n"], row["positives"], row["auc"], row["correct"]) == (30, None, None, None)
    (site,) = [s for s in results["participants"] if s["site"] == "c"]
    assert site["sets"]["external_1"] == {"n": 30, "positives": None}
    assert row["method"].startswith("withheld by the site")
    assert not [r for r in results["roc"] if r["set"] == "external_1"]
    assert not results["site_performance"]
    assert {(n["site"], n["rule"]) for n in results["refusals"]} >= {
        (site, "test_rows") for site in ("a", "b", "c")
    }


def test_the_model_is_the_one_scikit_learn_fits_on_the_pooled_rows(
    finished: Path, tabular_master: Path
) -> None:
    frames = [pd.read_csv(tabular_master / name / "cohort.csv") for name in NAMES]
    frame = pd.concat(frames)
    frame["sex=male"] = (frame["sex"] == "male").astype(float)
    frame = frame.rename(columns={"stage": "stage"})
    train = frame[frame["split"] == "train"]
    selection = results_of(finished)["selection"]["federated"]["clinical"]
    columns = list(selection["svm"]["weights"])
    base = train[columns].astype(float) if "stage" not in columns else train[columns]
    filled = base.fillna(base.mean())
    z = ((filled - filled.mean()) / filled.std(ddof=0)).clip(-3, 3)
    svm = LinearSVC(
        C=selection["svm"]["cost"], loss="squared_hinge", dual=False, tol=1e-10, max_iter=10000
    )
    svm.fit(z.to_numpy(), train["label"].to_numpy())
    np.testing.assert_allclose(list(selection["svm"]["weights"].values()), svm.coef_[0], atol=1e-4)
    test = frame[frame["split"] == "external_test"]
    scores = (
        (test[columns].astype(float).fillna(base.mean()) - filled.mean()) / filled.std(ddof=0)
    ).clip(-3, 3).to_numpy() @ svm.coef_[0]
    expected = roc_auc_score(test["label"], scores)
    rows = {(r["run"], r["set"]): r for r in results_of(finished)["performance"]}
    assert rows["federated", "external_1"]["auc"] == pytest.approx(expected, abs=0.015)


def test_an_interrupted_run_goes_on_and_ends_the_same(
    finished: Path, tabular_master: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    done = run_study(tabular_master, out)
    assert done.returncode == 0
    assert done.stdout.count("Federated (95% CI)") == 1  # no reference has to be waited for
    first = results_of(out)
    for name in ("evaluation.safetensors", "fusion_decision.safetensors"):
        (out / "checkpoint" / name).unlink()
    assert run_study(tabular_master, out).returncode == 0
    second = results_of(out)
    assert first["performance"] == second["performance"]
    sent = [
        [row for row in tree["transfers"] if row["phase"] == "clinical"] for tree in (first, second)
    ]
    assert sent[0], "what an interrupted run had sent is not forgotten"
    assert sent[0] == sent[1]
    again = [row for row in results_of(finished)["performance"] if row["run"] == "federated"]
    assert again == first["performance"]


def test_another_studys_checkpoint_is_refused(tabular: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run_study(tabular, out).returncode == 0
    builders.amend(tabular / "study.toml", seed=12)
    done = run_study(tabular, out)
    assert done.returncode == 1
    assert "the checkpoint belongs to another study" in done.stderr


def test_a_corrected_cohort_is_never_mixed_with_what_an_earlier_run_found(
    tabular: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert run_study(tabular, out).returncode == 0
    before = (out / "results.json").read_bytes()
    path = tabular / "b" / "cohort.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",0,", ",1,", 3), encoding="utf-8")
    done = run_study(tabular, out, "--reference", "pooled")
    assert done.returncode == 1
    assert "site b: the cohort changed since run federated began" in done.stderr
    assert "another --out folder" in done.stderr
    assert (out / "results.json").read_bytes() == before
    assert not (out / "references").exists()
