"""`fedlnm-site predict` on an external hospital of a finished study with all six models."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813

from client.predict import report
from client.predict.scoring import base_tables
from client.store.run_files import RunTables
from common.bundle.bundle import Bundle, read_files
from tests.client.predict.conftest import KEY, Call

MODELS = ("clinical", "radiomics", "dl2d", "dl3d", "fusion_feature", "fusion_decision")
FUSIONS = ("fusion_feature", "fusion_decision")
PATIENT = "harbour-001"


def files_of(harbour: Path) -> tuple[Path, Path]:
    return harbour / f"images/{PATIENT}.nii.gz", harbour / f"masks/r1/{PATIENT}.nii.gz"


def clinical_of(harbour: Path, study_columns: tuple[str, ...]) -> str:
    with (harbour / "cohort.csv").open(encoding="utf-8") as file:
        row = next(row for row in csv.DictReader(file) if row["patient_id"] == PATIENT)
    return ",".join(f"{name}={row[name]}" for name in study_columns)


COLUMNS = (
    "age",
    "sex",
    "primary_site",
    "t_stage",
    "differentiation",
    "space_invasion",
    "cartilage_invasion",
    "max_diameter_cm",
    "enhancement",
)


@pytest.fixture
def whole(bundle: Path, harbour: Path) -> list[object]:
    """Arguments with all that is known of one patient."""
    image, mask = files_of(harbour)
    words: list[object] = [bundle, "--coordinator-key", KEY, "--image", image, "--mask", mask]
    return [*words, "--clinical", clinical_of(harbour, COLUMNS)]


def probabilities(tree: Any, place: int = 0) -> dict[str, float | None]:
    return {row["model"]: row["probability"] for row in tree["patients"][place]["models"]}


def evaluated(run: Path) -> dict[str, dict[str, float]]:
    table = RunTables(run / "sites" / "harbour" / "work", "federated").read("scores", "external_1")
    return {
        patient: dict(zip(table.columns, row.tolist(), strict=True))
        for patient, row in zip(table.patients, table.values, strict=True)
    }


def test_a_cohort_gets_the_probabilities_of_the_evaluation(
    imaging_run: Path, bundle: Path, harbour: Path, call: Call
) -> None:
    cohort = harbour / "cohort.csv"
    done = call(bundle, "--coordinator-key", KEY, "--cohort", cohort, "--json")
    assert done.code == 0, done.err
    expected = evaluated(imaging_run)
    assert {p["patient"] for p in done.tree["patients"]} == set(expected)
    for place, patient in enumerate(done.tree["patients"]):
        found = probabilities(done.tree, place)
        assert tuple(found) == MODELS
        for model, probability in expected[patient["patient"]].items():
            assert found[model] == pytest.approx(probability, abs=1e-6)


def test_one_patient_gets_them_too_with_the_frozen_cutoffs(
    imaging_run: Path, whole: list[object], bundle: Path, call: Call
) -> None:
    done = call(*whole, "--json")
    assert done.code == 0, done.err
    cutoffs = Bundle.from_files(read_files(bundle)).cutoffs
    expected = evaluated(imaging_run)[PATIENT]
    for row in done.tree["patients"][0]["models"]:
        assert row["probability"] == pytest.approx(expected[row["model"]], abs=1e-6)
        assert row["cutoff"] == cutoffs[row["model"]]
        assert row["risk"] == ("high" if row["probability"] >= row["cutoff"] else "low")
    assert done.tree["research_use_only"].startswith("RESEARCH USE ONLY")


def test_the_bundle_tells_the_training_patients_means(bundle: Path, imaging_master: Path) -> None:
    read = Bundle.from_files(read_files(bundle)).training["clinical"]
    sites = ("north", "south", "west")
    frame = pd.concat([pd.read_csv(imaging_master / name / "cohort.csv") for name in sites])
    for name in ("age", "max_diameter_cm"):
        place = read.columns.index(name)
        values = frame.loc[frame["split"] == "train", name].fillna(
            frame.loc[frame["split"] == "train", name].mean()
        )
        assert read.mean[place] == pytest.approx(values.mean())
        assert read.deviation[place] == pytest.approx(values.std(ddof=0))


def test_the_report_is_one_closed_page(whole: list[object], tmp_path: Path, call: Call) -> None:
    out = tmp_path / "out"
    options = ["--out", out, "--no-pdf", "--saliency-steps", 2, "--patient", "<b>P&1"]
    done = call(*whole, *options)
    assert done.code == 0, done.err
    assert "RESEARCH USE ONLY" in done.out
    assert "signature verified" in done.out
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 2
    for text in ("RESEARCH USE ONLY", "Integrated gradients", "signature verified"):
        assert text in page
    assert "&lt;b&gt;P&amp;1" in page
    assert "<script" not in page
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")
    assert {path.name for path in out.iterdir()} == {
        "prediction.json",
        "predictions.csv",
        "report.html",
    }


def test_a_pdf_is_made_where_there_is_a_browser_and_missed_aloud_where_not(
    whole: list[object], tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    browsers = tmp_path / "bin"
    browsers.mkdir()
    monkeypatch.setenv("PATH", str(browsers))
    quick = ["--saliency-steps", 0]
    done = call(*whole, *quick, "--out", tmp_path / "without")
    assert "no PDF: install chromium" in done.err
    printer = browsers / "chromium"
    shell = 'for word in "$@"; do case "$word" in --print-to-pdf=*) echo PDF > "${word#*=}";; esac'
    printer.write_text(f"#!/bin/sh\n{shell}; done\n", encoding="utf-8")
    printer.chmod(0o755)
    call(*whole, *quick, "--out", tmp_path / "with")
    assert (tmp_path / "with" / "report.pdf").read_text(encoding="utf-8") == "PDF\n"


@pytest.mark.parametrize(("words", "printed"), [((), 0), (("--pdf",), 2)])
def test_a_cohorts_pages_are_printed_only_on_demand(
    bundle: Path,
    harbour: Path,
    tmp_path: Path,
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    printed: int,
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(report, "find_browser", lambda: "/bin/browser")
    monkeypatch.setattr(report, "print_page", lambda _, page: asked.append(page.name))
    cohort = harbour / "cohort.csv"
    pd.read_csv(cohort).head(2).to_csv(cohort, index=False)
    given = (bundle, "--coordinator-key", KEY, "--cohort", cohort, "--saliency-steps", 0)
    done = call(*given, "--out", tmp_path / "out", *words)
    assert done.code == 0, done.err
    assert len(asked) == printed
    assert len(list((tmp_path / "out").glob("report-*.html"))) == 2


def test_without_clinical_data_the_models_of_the_image_are_used(
    bundle: Path, harbour: Path, imaging_run: Path, call: Call
) -> None:
    image, mask = files_of(harbour)
    given = ("--image", image, "--mask", mask, "--json")
    done = call(bundle, "--coordinator-key", KEY, *given)
    assert done.code == 0, done.err
    found = probabilities(done.tree)
    # a feature fusion that selected no clinical column needs none
    views = Bundle.from_files(read_files(bundle)).models
    needing = [name for name, view in views.items() if "clinical" in base_tables(view)]
    assert {"clinical", "fusion_decision"} <= set(needing) <= {*FUSIONS, "clinical"}
    assert [name for name, value in found.items() if value is None] == needing
    assert found["dl3d"] == pytest.approx(evaluated(imaging_run)[PATIENT]["dl3d"], abs=1e-6)
    (note,) = done.tree["patients"][0]["notes"]
    assert note.startswith("No clinical data: Clinical, ")
    assert "Decision fusion cannot be used; Radiomics, 2D deep learning, 3D deep learning" in note
    assert note.endswith("A fusion needs every input that it uses.")


def test_without_an_image_the_clinical_model_is_used_alone(
    bundle: Path, harbour: Path, imaging_run: Path, tmp_path: Path, call: Call
) -> None:
    given = ("--clinical", clinical_of(harbour, COLUMNS), "--out", tmp_path / "out", "--no-pdf")
    done = call(bundle, "--coordinator-key", KEY, *given, "--json")
    assert done.code == 0, done.err
    found = probabilities(done.tree)
    assert [name for name, value in found.items() if value is not None] == ["clinical"]
    expected = evaluated(imaging_run)[PATIENT]["clinical"]
    assert found["clinical"] == pytest.approx(expected, abs=1e-6)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "cannot be used: no CT with contour" in page
    assert "<img" not in page


def test_a_missing_value_is_filled_and_said(bundle: Path, call: Call) -> None:
    done = call(bundle, "--coordinator-key", KEY, "--clinical", "age=60", "--json")
    notes = " ".join(done.tree["patients"][0]["notes"])
    assert "No value of sex, primary_site, t_stage" in notes


def test_values_outside_the_training_range_are_predicted_with_a_warning(
    bundle: Path, call: Call
) -> None:
    words = ("--clinical", "age=130,max_diameter_cm=1.2")
    done = call(bundle, "--coordinator-key", KEY, *words)
    assert done.code == 0
    read = Bundle.from_files(read_files(bundle)).training["clinical"]
    place = read.columns.index("age")
    low, high = (read.mean[place] + side * 3 * read.deviation[place] for side in (-1, 1))
    usual = f"{low:.3g} to {high:.3g} years"
    assert f"age 130 years is outside the training range {usual}" in done.out
    assert "max_diameter_cm 1.2" not in done.out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("agee=60", 'unknown clinical column "agee" -> known: age = a number (years); sex ='),
        ("t_stage=T9", 'unknown level "T9" -> known: t_stage = T1 | T2 | T3 | T4'),
        ("age=old", '"old" is not a number -> known: age = a number (years)'),
        ("age", '"age" is not NAME=VALUE'),
        ("age=60,age=61", "age is given twice"),
    ],
)
def test_unknown_columns_and_levels_are_wrong_usage(
    bundle: Path, call: Call, text: str, expected: str
) -> None:
    done = call(bundle, "--coordinator-key", KEY, "--clinical", text)
    assert done.code == 2
    assert expected in done.err
    assert not done.out


def moved(mask: sitk.Image) -> sitk.Image:
    mask.SetOrigin([x + 5.0 for x in mask.GetOrigin()])
    return mask


def two_labels(mask: sitk.Image) -> sitk.Image:
    voxels = sitk.GetArrayFromImage(mask)
    voxels[np.unravel_index(np.argmax(voxels), voxels.shape)] = 2
    spoilt = sitk.GetImageFromArray(voxels)
    spoilt.CopyInformation(mask)
    return spoilt


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (moved, "mask geometry: origin"),
        (lambda mask: mask * 0, "the mask is empty -> save the segmentation"),
        (two_labels, "several labels in the mask (1, 2)"),
        (None, "no such file -> correct --mask"),
    ],
    ids=["geometry", "empty", "labels", "missing"],
)
def test_a_contour_that_cannot_be_used_is_refused(
    whole: list[object], harbour: Path, call: Call, change: Any, expected: str
) -> None:
    mask = files_of(harbour)[1]
    if change is None:
        mask.unlink()
    else:
        sitk.WriteImage(change(sitk.ReadImage(str(mask))), str(mask))
    done = call(*whole)
    assert done.code == 1
    reported = (done.out + done.err).replace("\n", " ")
    assert mask.name in reported
    assert expected in reported
    assert "Radiomics" not in reported


def test_bad_patients_of_a_cohort_leave_the_others_alone(
    bundle: Path, harbour: Path, tmp_path: Path, call: Call
) -> None:
    cohort = harbour / "cohort.csv"
    with cohort.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:4]
    rows[0]["t_stage"] = "T9"
    rows[1]["mask"] = "masks/r1/none.nii.gz"
    (harbour / rows[2]["mask"]).write_bytes(b"")
    for row in rows:
        del row["label"], row["split"], row["age"]
    pd.DataFrame(rows).to_csv(cohort, index=False)
    out = tmp_path / "out"
    options = ("--out", out, "--no-pdf", "--saliency-steps", 0, "--json")
    done = call(bundle, "--coordinator-key", KEY, "--cohort", cohort, *options)
    assert done.code == 1
    assert [p["patient"] for p in done.tree["patients"]] == ["harbour-004"]
    assert done.tree["counts"] == {"read": 4, "predicted": 1, "refused": 3}
    refused = {p["patient"]: p["what"] for p in done.tree["refused"]}
    assert refused["harbour-001"] == 'unknown level "T9"'
    assert refused["harbour-002"] == "no such file"
    assert "harbour-003" in refused
    assert done.tree["warnings"] == [
        "The file has no column age: taken as missing for every patient."
    ]
    assert (out / "report-0001.html").is_file()
    with (out / "predictions.csv").open(encoding="utf-8") as file:
        listed = list(csv.DictReader(file))
    assert [row["model"] for row in listed] == list(MODELS)
    assert {row["page"] for row in listed} == {"report-0001.html"}


def test_an_image_without_a_contour_and_no_data_at_all_are_wrong_usage(
    bundle: Path, harbour: Path, call: Call
) -> None:
    image, _ = files_of(harbour)
    done = call(bundle, "--coordinator-key", KEY, "--image", image)
    assert (done.code, "--image without --mask" in done.err) == (2, True)
    done = call(bundle, "--coordinator-key", KEY)
    assert (done.code, "nothing is known of the patient" in done.err) == (2, True)
    cohort = harbour / "cohort.csv"
    done = call(bundle, "--coordinator-key", KEY, "--cohort", cohort, "--image", image)
    assert done.code == 2


def test_a_bundle_is_not_used_without_a_key_unless_unverified_which_is_said_everywhere(
    bundle: Path, tmp_path: Path, call: Call
) -> None:
    done = call(bundle, "--clinical", "age=60")
    assert done.code == 2
    assert "no key to check the bundle with -> give one of --coordinator-key" in done.err
    out = tmp_path / "out"
    done = call(bundle, "--clinical", "age=60", "--unverified", "--out", out, "--no-pdf")
    assert done.code == 0
    assert "NOT VERIFIED" in done.out
    assert (out / "report.html").read_text(encoding="utf-8").count("NOT VERIFIED") == 2
    assert out.stat().st_mode & 0o077 == 0


def test_a_folder_with_files_and_a_device_of_another_kind_are_refused_first(
    bundle: Path, tmp_path: Path, call: Call
) -> None:
    (tmp_path / "report.html").write_text("an earlier patient's", encoding="utf-8")
    words = (bundle, "--coordinator-key", KEY, "--clinical", "age=60")
    done = call(*words, "--out", tmp_path)
    assert (done.code, done.out) == (1, "")
    assert "not an empty folder -> choose another one" in done.err
    done = call(*words, "--device", "abacus")
    assert (done.code, done.out) == (2, "")
    assert 'device = "abacus"' in done.err


def test_help_tells_what_every_part_is(call: Call) -> None:
    done = call("--help")
    for text in ("RESEARCH USE ONLY", "BUNDLE is the folder bundle", "Exit code 0"):
        assert text in " ".join(done.out.split())
