"""Faults that headers tell of are found without a voxel being read, and for every patient."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from client.imaging.first_look import HeaderProblem, first_look
from client.imaging.preparation import PatientJob, look_first
from client.imaging.source import KnownFiles


def save(path: Path, values: np.ndarray, **options: bool) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(values, **options), str(path))
    return path


@pytest.fixture
def whole(tmp_path: Path) -> PatientJob:
    """A patient without fault."""
    image = save(tmp_path / "ct.nii.gz", np.zeros((4, 5, 6), np.int16))
    mask = save(tmp_path / "roi.nii.gz", np.ones((4, 5, 6), np.uint8))
    return PatientJob("P1", image, {"r1": mask})


def flat(path: Path) -> None:
    save(path, np.zeros((5, 6), np.int16))


def colours(path: Path) -> None:
    save(path, np.zeros((4, 5, 6, 3), np.uint8), isVector=True)


def gone(path: Path) -> None:
    path.unlink()


FAULTS: list[tuple[Callable[[Path], None], str]] = [
    (flat, "not 3-D: 2 dimensions"),
    (colours, "not 3-D: 5 dimensions"),
    (gone, "no such file"),
]


def test_a_patient_without_fault_has_no_problem(whole: PatientJob) -> None:
    assert first_look(whole.image, whole.masks) == []


@pytest.mark.parametrize(("spoil", "what"), FAULTS)
@pytest.mark.parametrize("kind", ["image", "mask"])
def test_a_fault_of_a_header_is_found_of_image_and_mask(
    whole: PatientJob, spoil: Callable[[Path], None], what: str, kind: str
) -> None:
    path = whole.image if kind == "image" else whole.masks["r1"]
    spoil(path)
    (found,) = first_look(whole.image, whole.masks)
    assert (found.kind, found.file) == (kind, path.name)
    assert what in found.what
    assert str(path.parent) not in found.what + found.remedy


def test_an_unknown_format_is_refused(whole: PatientJob, tmp_path: Path) -> None:
    (tmp_path / "ct.png").touch()
    (found,) = first_look(tmp_path / "ct.png", whole.masks)
    assert found == HeaderProblem("image", "ct.png", found.what, found.remedy)
    assert "not a known image format" in found.what


def test_all_faults_of_all_patients_are_listed(whole: PatientJob, tmp_path: Path) -> None:
    flat(whole.image)
    gone(whole.masks["r1"])
    other = PatientJob("P2", save(tmp_path / "two.nii.gz", np.zeros((5, 6), np.int16)), {})
    found = look_first([whole, other], KnownFiles(tmp_path / "known.json"), 2)
    assert [(one.patient_id, one.kind) for one in found] == [
        ("P1", "image"),
        ("P1", "mask"),
        ("P2", "image"),
    ]


def test_files_without_fault_are_looked_at_once_and_faults_every_time(
    whole: PatientJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "known.json"
    known = KnownFiles(path)
    assert look_first([whole], known, 1) == ()
    known.save()
    with monkeypatch.context() as patch:
        patch.setattr("client.imaging.first_look.first_look", lambda *_: pytest.fail("again"))
        assert look_first([whole], KnownFiles(path), 1) == ()
    flat(whole.image)
    for _ in range(2):
        assert len(look_first([whole], known, 1)) == 1
        known.save()
    text = path.read_text(encoding="utf-8")
    assert "P1" not in text
    assert "roi" not in text
