"""Hospitals for the benchmarks: one clinical column, enough patients for every disclosure rule."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from common.study.model import Study, parse_study

TRAINING_PATIENTS, TEST_PATIENTS = 40, 10
_STUDY = """
name = "bench"
endpoint = "event"
base_models = ["clinical"]
fusion_models = []
sites = [{sites}]
test_sets = [{{ name = "internal", split = "internal_test", sites = [{names}] }}]
[[clinical]]
name = "marker"
kind = "continuous"
"""


def site_names(sites: int) -> list[str]:
    """Names of so many hospitals."""
    return [f"site{number:02d}" for number in range(1, sites + 1)]


# of every patient; no network is really trained on it
_IMAGE, _MASK, _SIDE = "image.nii.gz", "mask.nii.gz", 24


def study_of(sites: int) -> Study:
    """A study over so many hospitals, masked where there are three or more."""
    names = site_names(sites)
    return parse_study(
        _STUDY.format(
            sites=", ".join(f'{{ name = "{name}" }}' for name in names),
            names=", ".join(f'"{name}"' for name in names),
        )
    )


def write_hospitals(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Write every hospital's cohort.csv; folder by name."""
    splits = ["train"] * TRAINING_PATIENTS + ["internal_test"] * TEST_PATIENTS
    for name in names:
        draw = random.Random(name)  # noqa: S311
        rows = ["patient_id,label,split,marker,image,mask"]
        for index, split in enumerate(splits):
            label = int(index % 5 < 2)
            rows.append(
                f"{name}-{index},{label},{split},{draw.gauss(label, 1.0):.4f},{_IMAGE},{_MASK}"
            )
        (folder / name).mkdir(parents=True, exist_ok=True)
        _write_image(folder / name)
        (folder / name / "cohort.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return {name: folder / name for name in names}


def _write_image(folder: Path) -> None:
    """Write one small tumour in noise, and its mask."""
    drawn = np.random.default_rng(1)
    mask = np.zeros((_SIDE, _SIDE, _SIDE), dtype=np.uint8)
    mask[6:-6, 6:-6, 6:-6] = 1
    hounsfield = drawn.normal(40.0, 20.0, mask.shape).astype(np.int16)
    for name, voxels in ((_IMAGE, hounsfield), (_MASK, mask)):
        sitk.WriteImage(sitk.GetImageFromArray(voxels), folder / name)
