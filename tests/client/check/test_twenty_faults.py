"""A folder with faults of more than twenty kinds: one `check` finds each and names it."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from client.gate import approvals
from client.site import load_site
from common.masking import identity
from common.study.model import Study, load_study, write_study
from tests.fixtures.programs import run_program

NAME = "north"
Cells = dict[str, str]


@dataclass
class Partner:
    """A hospital's folder that a test may spoil, and the study that it prepares for."""

    folder: Path
    study: Study
    rows: list[Cells]

    def row(self, patient: int) -> Cells:
        """Cells of a patient who is not in another fault."""
        return next(row for row in self.rows if row["patient_id"] == f"{NAME}-{patient:03d}")

    def change(self, patient: int, column: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Write a volume anew with other voxels."""
        path = self.folder / self.row(patient)[column]
        image = sitk.ReadImage(str(path))
        changed = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(image)))
        changed.CopyInformation(image)
        sitk.WriteImage(changed, str(path))

    def write(self) -> None:
        with (self.folder / "cohort.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(self.rows[0]), restval="")
            writer.writeheader()
            writer.writerows(self.rows)


# -- cohort.csv ---------------------------------------------------------------------------------


def bad_label(partner: Partner) -> None:
    partner.row(7)["label"] = "2"


def missing_split(partner: Partner) -> None:
    partner.row(8)["split"] = ""


def listed_twice(partner: Partner) -> None:
    partner.rows.append(dict(partner.row(9)))


def two_splits(partner: Partner) -> None:
    partner.rows.append(partner.row(21) | {"split": "train"})


def unknown_level(partner: Partner) -> None:
    partner.row(10)["t_stage"] = "T9"


def age_in_months(partner: Partner) -> None:
    row = partner.row(11)
    row["age"] = str(12 * int(row["age"]))


def date_like_id(partner: Partner) -> None:
    partner.row(20)["patient_id"] = "P19580312"


def one_class_in_a_fold(partner: Partner) -> None:
    """Three positives that can be used, for five folds."""
    training = [row for row in partner.rows if row["split"] == "train"]
    usable = {f"{NAME}-{patient:03d}" for patient in (3, 4, 5)}
    for row in training:
        if row["label"] in "01":
            row["label"] = str(int(row["patient_id"] in usable))


# -- images -------------------------------------------------------------------------------------


def image_missing(partner: Partner) -> None:
    (partner.folder / partner.row(12)["image"]).unlink()


def image_cut_off(partner: Partner) -> None:
    path = partner.folder / partner.row(13)["image"]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_geometry(partner: Partner) -> None:
    path = partner.folder / partner.row(14)["mask"]
    mask = sitk.ReadImage(str(path))
    mask.SetOrigin([x + 5.0 for x in mask.GetOrigin()])
    sitk.WriteImage(mask, str(path))


def empty_mask(partner: Partner) -> None:
    partner.change(15, "mask", np.zeros_like)


def two_labels(partner: Partner) -> None:
    def labelled(voxels: np.ndarray) -> np.ndarray:
        voxels[np.unravel_index(np.argmax(voxels), voxels.shape)] = 2
        return voxels

    partner.change(16, "mask", labelled)


def not_in_hu(partner: Partner) -> None:
    partner.change(17, "image", lambda voxels: (voxels + 1024).astype(np.int16))


def mask_in_air(partner: Partner) -> None:
    image = sitk.ReadImage(str(partner.folder / partner.row(18)["image"]))
    air = sitk.GetArrayFromImage(image) < -600
    partner.change(18, "mask", lambda voxels: air.astype(voxels.dtype))


def contradicting_readings(partner: Partner) -> None:
    def elsewhere(voxels: np.ndarray) -> np.ndarray:
        moved = np.zeros_like(voxels)
        moved[:3, :3, :3] = 1
        return moved

    partner.change(1, "mask_r1_repeat", elsewhere)


def second_reader_missing(partner: Partner) -> None:
    (partner.folder / partner.row(2)["mask_r2"]).unlink()


def one_image_twice(partner: Partner) -> None:
    own, other = (partner.folder / partner.row(patient)["image"] for patient in (22, 23))
    shutil.copy(other, own)
    shutil.copy(partner.folder / partner.row(23)["mask"], partner.folder / partner.row(22)["mask"])


def name_in_header(partner: Partner) -> None:
    path = partner.folder / partner.row(19)["image"]
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[148 : 148 + 9] = b"DOE^JANE\0"
    path.write_bytes(gzip.compress(bytes(content)))


# -- keys, software, coordinator ----------------------------------------------------------------


def readable_key(partner: Partner) -> None:
    (partner.folder / "keys" / "identity.pem").chmod(0o644)


def another_study_approved(partner: Partner) -> None:
    _approve(partner, partner.study.model_copy(update={"seed": 1}).digest(), "test")


def _approve(partner: Partner, digest: str, name: str) -> None:
    settings = load_site(partner.folder / "site.toml")
    private = identity.load(settings.identity).private
    approvals.approve(settings.work, private, digest, name)


def clock_behind(partner: Partner) -> None:
    """The cohort was written the day after tomorrow, for all that this machine knows."""
    partner.write()
    later = time() + 2 * 86_400
    os.utime(partner.folder / "cohort.csv", (later, later))


@dataclass(frozen=True)
class Fault:
    """Planted fault, and its expected severity, kind, place and text."""

    plant: Callable[[Partner], None]
    severity: str
    kind: str
    where: str
    words: str


FAULTS = (
    Fault(bad_label, "problem", "cohort.label", "north-007", '"2" is not 0 or 1'),
    Fault(missing_split, "problem", "cohort.split", "north-008", 'unknown split ""'),
    Fault(listed_twice, "problem", "cohort.duplicate", "north-009", "rows 10, 26"),
    Fault(two_splits, "problem", "cohort.two_splits", "north-021", "internal_test and train"),
    Fault(unknown_level, "problem", "cohort.level", "north-010", 'unknown level "T9"'),
    Fault(age_in_months, "problem", "cohort.units", "north-011: column age", "in years"),
    Fault(image_missing, "problem", "image.missing", "north-012", "missing file"),
    Fault(image_cut_off, "problem", "image.unusable", "north-013", "truncated"),
    Fault(other_geometry, "problem", "mask.unusable", "north-014", "origin"),
    Fault(empty_mask, "problem", "mask.unusable", "north-015", "empty"),
    Fault(two_labels, "problem", "mask.unusable", "north-016", "several labels"),
    Fault(not_in_hu, "problem", "image.units", "north-017", "neither air nor fat"),
    Fault(mask_in_air, "problem", "mask.place", "north-018", "outside soft tissue"),
    Fault(contradicting_readings, "problem", "mask.readings", "north-001", "no voxel in common"),
    Fault(second_reader_missing, "problem", "mask.missing", "north-002", "missing file"),
    Fault(one_image_twice, "problem", "image.shared", "north-022, north-023", "same image"),
    Fault(name_in_header, "warning", "identifiers.headers", "north-019", "descrip"),
    Fault(date_like_id, "warning", "identifiers.cohort", "row 21", "a date"),
    Fault(one_class_in_a_fold, "problem", "counts.fold", "training fold", "is positive"),
    Fault(
        one_class_in_a_fold, "problem", "disclosure.enrolment", "", "at least 5 needed (rule class,"
    ),
    Fault(readable_key, "problem", "keys.identity", "identity.pem", "mode 0644"),
    Fault(another_study_approved, "warning", "study.approval", "study test", "another digest"),
    Fault(clock_behind, "problem", "machine.clock", "", "written later: cohort.csv"),
)
# planted by the fixture: the certificate of the coordinator ran out two days ago
EXPIRED = Fault(
    lambda _: None, "problem", "coordinator.certificate", "localhost", "the certificate expired on"
)
PLANTED = (*FAULTS, EXPIRED)
# what follows from these faults, and is not planted by itself
CONSEQUENCES = {
    ("disclosure.enrolment", ""),
    ("disclosure.training", ""),
    ("disclosure.readings", ""),
}


@pytest.fixture(scope="module")
def spoilt(
    imaging_master: Path, tmp_path_factory: pytest.TempPathFactory, hub: Any, joined: Any
) -> Partner:
    """A copy of a hospital with all faults."""
    folder = tmp_path_factory.mktemp("spoilt") / NAME
    shutil.copytree(imaging_master / NAME, folder)
    deployment = hub(days=-2).deployment(folder / "keys")
    # small folds, so that one of them lacks a class
    study = load_study(imaging_master / "study.toml").model_copy(update={"folds": 5})
    study = joined(folder, NAME, study, deployment)
    with (folder / "cohort.csv").open(encoding="utf-8") as file:
        partner = Partner(folder, study, list(csv.DictReader(file)))
    for plant in dict.fromkeys(fault.plant for fault in FAULTS):
        plant(partner)
    write_study(study, folder.parent / "study.toml")
    return partner


@pytest.fixture(scope="module")
def findings(spoilt: Partner, imaging_cache: Path) -> list[dict[str, str]]:
    """Run one check and return its findings."""
    study = spoilt.folder.parent / "study.toml"
    done = run_program(
        *("client", "check", spoilt.folder, "--json", "--study", study, "--cache", imaging_cache)
    )
    assert done.returncode == 1, done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)["findings"]
    return found


def matching(fault: Fault, findings: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    return [
        finding
        for finding in findings
        if (finding["kind"], finding["severity"]) == (fault.kind, fault.severity)
        and fault.where in finding["where"]
        and fault.words in finding["what"]
    ]


def test_there_are_twenty_faults_of_different_kinds() -> None:
    assert len({fault.kind for fault in PLANTED}) >= 20


@pytest.mark.parametrize("fault", PLANTED, ids=lambda fault: f"{fault.kind}-{fault.words[:20]}")
def test_a_fault_is_found_and_named(fault: Fault, findings: list[dict[str, str]]) -> None:
    found = matching(fault, findings)
    assert found, [f for f in findings if f["kind"] == fault.kind]
    assert all(finding["remedy"] for finding in found)


def test_nothing_else_is_called_a_problem(findings: list[dict[str, str]]) -> None:
    explained = [finding for fault in PLANTED for finding in matching(fault, findings)]
    others = [
        finding
        for finding in findings
        if finding["severity"] == "problem" and finding not in explained
    ]
    unexplained = [
        finding
        for finding in others
        if not any(k == finding["kind"] and w in finding["where"] for k, w in CONSEQUENCES)
    ]
    assert not unexplained
