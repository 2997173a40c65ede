"""`fedlnm-site check`: every kind of bad image is found, named, and leaves the others alone."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from tests.fixtures.programs import Finished, run_program


def check(site: Path, study: Path, cache: Path, *options: str) -> Finished:
    words = ("check", site, "--study", study, "--cache", cache, *options)
    return run_program("client", *words)


@pytest.fixture
def harbour(imaging_master: Path, tmp_path: Path) -> Path:
    shutil.copytree(imaging_master / "harbour", tmp_path / "harbour")
    return tmp_path / "harbour"


def truncate(site: Path) -> None:
    path = next(iter(sorted((site / "images").iterdir())))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change_image(site: Path, change: Callable[[sitk.Image], sitk.Image]) -> None:
    path = next(iter(sorted((site / "images").iterdir())))
    sitk.WriteImage(change(sitk.ReadImage(str(path))), str(path))


def change_mask(site: Path, change: Callable[[sitk.Image], sitk.Image]) -> None:
    path = next(iter(sorted((site / "masks" / "r1").iterdir())))
    sitk.WriteImage(change(sitk.ReadImage(str(path))), str(path))


def with_nan(image: sitk.Image) -> sitk.Image:
    voxels = sitk.GetArrayFromImage(image).astype(np.float32)
    voxels[voxels.shape[0] // 2, 3, 3] = np.nan
    spoilt = sitk.GetImageFromArray(voxels)
    spoilt.CopyInformation(image)
    return spoilt


def moved(mask: sitk.Image) -> sitk.Image:
    mask.SetOrigin([x + 5.0 for x in mask.GetOrigin()])
    return mask


def emptied(mask: sitk.Image) -> sitk.Image:
    return mask * 0


def two_labels(mask: sitk.Image) -> sitk.Image:
    voxels = sitk.GetArrayFromImage(mask)
    voxels[np.unravel_index(np.argmax(voxels), voxels.shape)] = 2
    spoilt = sitk.GetImageFromArray(voxels)
    spoilt.CopyInformation(mask)
    return spoilt


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (truncate, "truncated"),
        (lambda site: change_image(site, with_nan), "finite"),
        (lambda site: change_mask(site, moved), "geometry"),
        (lambda site: change_mask(site, emptied), "empty"),
        (lambda site: change_mask(site, two_labels), "label"),
    ],
    ids=["truncated", "nan", "geometry", "empty", "two-labels"],
)
def test_a_bad_image_is_found_and_named(
    harbour: Path,
    imaging_master: Path,
    imaging_cache: Path,
    spoil: Callable[[Path], None],
    words: str,
) -> None:
    spoil(harbour)
    done = check(harbour, imaging_master / "study.toml", imaging_cache, "--json")
    assert done.returncode == 1, done.stderr
    findings = json.loads(done.stdout)
    assert findings["patients"] == 11
    assert findings["ready"] is False
    (problem,) = (row for row in findings["findings"] if row["severity"] == "problem")
    assert "harbour-001" in problem["where"]
    assert words in problem["what"]
    assert problem["remedy"]


def test_a_good_hospital_is_ready(
    imaging_master: Path, imaging_cache: Path, tmp_path: Path
) -> None:
    done = check(imaging_master / "harbour", imaging_master / "study.toml", imaging_cache, "--json")
    assert done.returncode == 0, done.stderr
    findings = json.loads(done.stdout)
    assert findings["schema"] == 2
    assert findings["ready"] is True
    assert findings["counts"] == {"external_1": [12, 6]}


def test_the_table_on_screen_ends_with_the_verdict(
    imaging_master: Path, imaging_cache: Path
) -> None:
    done = check(imaging_master / "harbour", imaging_master / "study.toml", imaging_cache)
    assert done.returncode == 0, done.stderr
    assert "12 usable patients" in done.stdout
    assert "external_1" in done.stdout
    assert done.stderr.startswith("reads "), "said before all is loaded, which takes a while"
    assert re.fullmatch(
        r"ready: \d+ not checked, (1 warning|\d+ warnings), 0 problems",
        done.stdout.splitlines()[-1],
    )


def test_a_wrong_study_file_is_an_error_and_no_report(imaging_master: Path, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("name = 3\n", encoding="utf-8")
    done = check(imaging_master / "harbour", tmp_path / "study.toml", tmp_path / "cache", "--json")
    assert done.returncode == 1
    assert not done.stdout
    assert "study.toml" in done.stderr
