"""Patients of whom the same is said stand in one row; an image under two ids is found."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import SimpleITK as sitk  # noqa: N813

from client.check.finding import Finding
from client.check.images import ImagesLook, check_images
from client.data.cohort import Patient, read_cohort
from client.site import SiteSettings
from common.study.model import load_study

SETTINGS = SiteSettings(name="north", workers=1)


@pytest.fixture
def patients(imaging_master: Path, tmp_path: Path) -> list[Patient]:
    """Three, with repeat readings, whose files a test may spoil."""
    shutil.copytree(imaging_master / "north", tmp_path / "north")
    study = load_study(imaging_master / "study.toml")
    return read_cohort(tmp_path / "north", "north", study).patients[:3]


def look(patients: list[Patient]) -> ImagesLook:
    return check_images(patients, SETTINGS, None)


def faults(found: ImagesLook) -> list[Finding]:
    return [finding for finding in found.findings if finding.severity != "ok"]


def rewrite(patient: Patient, change: Callable[[sitk.Image], sitk.Image]) -> None:
    for path in (patient.image, *patient.masks.values()):
        assert path is not None
        sitk.WriteImage(change(sitk.ReadImage(str(path))), str(path))


def test_good_images_have_a_row_of_every_kind_and_progress_is_told(
    patients: list[Patient],
) -> None:
    reported: list[tuple[int, int, str]] = []
    found = check_images(patients, SETTINGS, lambda *done: reported.append(done))
    assert not faults(found)
    assert not found.bad
    assert found.gib > 0.3
    assert [done[:2] for done in reported] == [(1, 3), (2, 3), (3, 3)]
    assert {f.what for f in found.findings} == {"3 images", "12 contours"}


def test_patients_of_whom_the_same_is_said_stand_together(patients: list[Patient]) -> None:
    def thick(image: sitk.Image) -> sitk.Image:
        image.SetSpacing((*image.GetSpacing()[:2], 6.0))
        return image

    for patient in patients[:2]:
        rewrite(patient, thick)
    (row,) = faults(look(patients))
    assert (row.severity, row.where) == ("warning", "north-001, north-002")


def test_values_that_are_not_hu_spoil_the_patient_but_not_his_place(
    patients: list[Patient],
) -> None:
    path = patients[0].image
    sitk.WriteImage(sitk.ReadImage(str(path)) + 1024, str(path))
    found = look(patients)
    assert [row.kind for row in faults(found)] == ["image.units"]
    assert found.bad == {"north-001"}


def test_a_copied_reading_is_a_warning_and_spoils_nobody(patients: list[Patient]) -> None:
    shutil.copy(patients[0].masks["r1"], patients[0].masks["r2"])
    found = look(patients)
    (row,) = faults(found)
    assert (row.kind, row.severity) == ("mask.readings", "warning")
    assert not found.bad


def test_one_image_under_two_ids_and_splits_is_named_as_a_leak(patients: list[Patient]) -> None:
    twin = Patient(**{**vars(patients[0]), "patient_id": "north-099", "split": "internal_test"})
    (row,) = faults(look([*patients, twin]))
    assert (row.kind, row.severity) == ("image.shared", "problem")
    assert row.where == "north-001, north-099"
    assert "in the splits internal_test and train" in row.what
