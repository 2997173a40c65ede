"""Plausible and implausible images and contours."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by

from client.check import images
from client.check.images import Remark
from client.check.look import ImageFacts, RegionFacts, region_facts

CT = ImageFacts((512, 512, 90), (0.8, 0.8, 2.5), -1024.0, 2400.0, 0.5, 0.4)
TUMOUR = RegionFacts(12.0, 60.0, at_border=False, apart=0.0, gib=0.4)


def remarks(rule: object) -> list[tuple[str, str]]:
    return [(remark.severity, remark.what) for remark in rule]  # type: ignore[attr-defined]


def test_an_ordinary_ct_and_contour_pass() -> None:
    assert not remarks(images.geometry(CT))
    assert not remarks(images.units(CT))
    assert not remarks(images.place("reader 1", TUMOUR))
    assert not remarks(images.size(TUMOUR))


@pytest.mark.parametrize(
    ("spacing", "severity", "words"),
    [
        ((0.0008, 0.0008, 0.0025), "problem", "voxels of"),
        ((800, 800, 2500), "problem", "voxels of"),
        ((0.8, 0.8, 0.1), "problem", "large"),
        ((0.8, 0.8, 8.0), "warning", "slices 8 mm apart"),
    ],
)
def test_sizes_that_no_scanner_gives(spacing: tuple[float, ...], severity: str, words: str) -> None:
    image = dataclasses.replace(CT, spacing=spacing)
    ((found, what),) = remarks(images.geometry(image))
    assert found == severity
    assert words in what


@pytest.mark.parametrize(
    ("low", "high", "soft", "words"),
    [
        (0.0, 1.0, 1.0, "all values lie between 0 and 1"),
        (-3.2, 9.9, 1.0, "all values lie between"),
        (0.0, 255.0, 0.9, "no value below 0"),
        (0.0, 3424.0, 0.4, "neither air nor fat"),
        (-32768.0, 32767.0, 0.001, "0.1% of the voxels"),
    ],
)
def test_grey_values_that_are_not_hu(low: float, high: float, soft: float, words: str) -> None:
    image = dataclasses.replace(CT, low=low, high=high, soft=soft, air=0.0)
    ((severity, what),) = remarks(images.units(image))
    assert severity == "problem"
    assert what.startswith("not in HU")
    assert words in what


def test_an_image_without_air_is_a_warning() -> None:
    image = dataclasses.replace(CT, low=-150.0, air=0.0)
    assert [severity for severity, _ in remarks(images.units(image))] == ["warning"]


@pytest.mark.parametrize("median", [-900.0, 900.0])
def test_a_contour_in_air_or_bone_is_a_problem(median: float) -> None:
    region = dataclasses.replace(TUMOUR, median_hu=median, at_border=True)
    ((severity, what),) = remarks(images.place("reader 2", region))
    assert severity == "problem"
    assert f"median {median:.0f} HU" in what


def test_contours_at_the_edge_in_pieces_or_of_odd_size_are_warnings() -> None:
    at_border = dataclasses.replace(TUMOUR, at_border=True)
    odd = dataclasses.replace(TUMOUR, volume_cm3=0.001, apart=0.4, skipped=1)
    assert [severity for severity, _ in remarks(images.place("r", at_border))] == ["warning"]
    assert [severity for severity, _ in remarks(images.size(odd))] == ["warning"] * 3


@pytest.mark.parametrize(
    ("overlap", "severity"), [(0.0, "problem"), (0.3, "warning"), (1.0, "warning")]
)
def test_repeat_readings_that_contradict_or_are_copies(overlap: float, severity: str) -> None:
    masks, pair = {"r1": 0, "r2": 0}, ("r1", "r2")
    (remark,) = images.readings(masks, {pair: overlap})
    assert remark.severity == severity
    assert "reader 1 and reader 2" in remark.what


def test_repeat_readings_that_agree_pass() -> None:
    assert not list(images.readings({"r1": 0, "r2": 0}, {("r1", "r2"): 0.85}))


def test_a_repeat_of_nothing_is_said() -> None:
    (remark,) = images.readings({"r1": 0, "r2_repeat": 0}, {})
    assert isinstance(remark, Remark)
    assert "mask_r2_repeat without mask_r2" in remark.what


def test_a_volume_that_skips_a_slice_is_seen() -> None:
    inside = np.zeros((9, 12, 12), dtype=np.uint8)
    inside[2:7, 3:9, 3:9] = 1
    image = sitk.GetImageFromArray(np.random.default_rng(1).normal(40, 9, inside.shape))
    whole = region_facts(image, sitk.GetImageFromArray(inside))
    inside[4] = 0
    gapped = region_facts(image, sitk.GetImageFromArray(inside))
    assert (whole.skipped, gapped.skipped) == (0, 1)
