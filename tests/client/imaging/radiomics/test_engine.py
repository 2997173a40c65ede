"""The engine against the untouched extractor: every feature, on masks made to break it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from radiomics.featureextractor import RadiomicsFeatureExtractor

from client.imaging.radiomics import glcm, matrices
from client.imaging.radiomics.engine import FastExtractor

PRESETS = Path(__file__).parents[4] / "common" / "presets"
SHAPE = (18, 19, 20)

Features = dict[str, float]


def tissue(shape=SHAPE, seed=0) -> np.ndarray:
    """Noise on smooth hills, some air, in HU."""
    random = np.random.default_rng(seed)
    z, y, _ = np.indices(shape)
    values = 40 + 60 * np.sin(z / 3) * np.cos(y / 4) + random.normal(0, 40, shape)
    values[:, : shape[1] // 4] -= 700
    return values.astype(np.float32)


def ball(shape=SHAPE, centre=None, radius=5.0) -> np.ndarray:
    centre = [size / 2 for size in shape] if centre is None else centre
    apart = sum((i - c) ** 2 for i, c in zip(np.indices(shape), centre, strict=True))
    return (apart < radius**2).astype(np.uint8)


def box(*slices: slice) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[slices] = 1
    return mask


def scattered() -> np.ndarray:
    """Voxels none of which touches another."""
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[4:18:3, 5:17:4, 6:16:5] = 1
    return mask


def far_apart() -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[3, 4, 5] = mask[10, 15, 18] = 1
    return mask


def speckled() -> np.ndarray:
    random = np.random.default_rng(3).random(SHAPE)
    return (ball(radius=7) * (random < 0.4)).astype(np.uint8)


def hollow() -> np.ndarray:
    return ball(radius=7) - ball(radius=4)


def diagonal() -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=np.uint8)
    index = np.arange(5, 15)
    mask[index, index, index] = 1
    return mask


def touching_all_edges() -> np.ndarray:
    mask = ball(radius=8)
    mask[0, 0, 0] = mask[-1, -1, -1] = mask[0, -1, 0] = 1
    return mask


MASKS: dict[str, Callable[[], np.ndarray]] = {
    "one voxel": lambda: box(slice(9, 10), slice(9, 10), slice(9, 10)),
    "a line": lambda: box(slice(9, 10), slice(9, 10), slice(4, 18)),
    "a diagonal": diagonal,
    "two voxels in a slice": lambda: box(slice(9, 10), slice(9, 11), slice(9, 10)),
    "one slice": lambda: box(slice(9, 10), slice(5, 17), slice(6, 15)),
    "one column": lambda: box(slice(5, 17), slice(9, 10), slice(6, 15)),
    "one row": lambda: box(slice(5, 17), slice(6, 15), slice(9, 10)),
    "eight voxels": lambda: box(slice(9, 11), slice(9, 11), slice(9, 11)),
    "two components": lambda: (
        ball(centre=(5, 5, 5), radius=3) + ball(centre=(12, 13, 14), radius=4)
    ),
    "a hole": hollow,
    "scattered": scattered,
    "two voxels on no common line": far_apart,
    "speckled": speckled,
    "the edge": lambda: ball(centre=(2, 11, 19), radius=6),
    "all edges": touching_all_edges,
}


@cache
def extractor_of(kind: type, preset: str) -> RadiomicsFeatureExtractor:
    extractor = kind(str(PRESETS / f"radiomics-{preset}.yaml"), additionalInfo=False)
    extractor.settings["resampledPixelSpacing"] = None
    return extractor


def extracted(kind: type, image: sitk.Image, mask: sitk.Image, preset="1834") -> Features | str:
    """Features, or the error's text."""
    extractor = extractor_of(kind, preset)
    logging.getLogger("radiomics").setLevel(logging.CRITICAL + 1)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            found = extractor.execute(image, mask)
        except (ValueError, RuntimeError) as error:
            return str(error)
    return {name: float(value) for name, value in found.items()}


def volume(values: np.ndarray, spacing=(1.0, 1.0, 1.0)) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(values))
    image.SetSpacing(spacing)
    image.SetOrigin((-31.3, 12.7, 5.1))
    return image


def assert_equal(values: np.ndarray, mask: np.ndarray, spacing=(1.0, 1.0, 1.0)) -> Features | str:
    pair = volume(values, spacing), volume(mask, spacing)
    ours, theirs = (extracted(kind, *pair) for kind in (FastExtractor, RadiomicsFeatureExtractor))
    if isinstance(ours, str) or isinstance(theirs, str):
        assert ours == theirs
        return ours
    assert list(ours) == list(theirs)
    np.testing.assert_allclose(
        list(ours.values()), list(theirs.values()), rtol=1e-9, atol=0, equal_nan=True
    )
    return ours


@pytest.mark.parametrize("name", MASKS)
def test_a_hard_mask_has_the_values_of_pyradiomics(name):
    found = assert_equal(tissue(), MASKS[name]())
    if name in ("one voxel", "a line", "two voxels in a slice"):
        assert isinstance(found, str) and found.startswith("mask ")
    else:
        assert len(found) == 1834


def test_a_mask_of_the_whole_image_has_the_values_of_pyradiomics():
    shape = (10, 11, 12)
    assert_equal(tissue(shape), np.ones(shape, dtype=np.uint8))


@pytest.mark.parametrize("value", [0.0, 25.0, 40.5, -1000.0])
def test_an_image_of_one_value_has_the_values_of_pyradiomics(value):
    assert_equal(np.full((12, 13, 14), value, dtype=np.float32), ball((12, 13, 14)))


@pytest.mark.parametrize("value", [0.0, 40.5])
def test_an_roi_of_one_value_among_others_has_the_values_of_pyradiomics(value):
    values, mask = tissue(), ball()
    values[mask == 1] = value
    assert_equal(values, mask)


def test_a_clipped_image_has_the_values_of_pyradiomics():
    """Flat parts: there the marks of LBP-3D are decided by the last bit."""
    assert_equal(np.clip(tissue(), 20, 60), ball(radius=7))


@pytest.mark.parametrize(
    "order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
)
def test_any_order_of_axes_has_the_values_of_pyradiomics(order):
    values, mask = tissue((15, 20, 26)), ball((15, 20, 26), (6, 9, 14), 4.3)
    assert_equal(values.transpose(order), mask.transpose(order), (0.83, 0.97, 2.7))


@pytest.mark.parametrize("factor", [0.01, 8.0])
def test_few_and_many_grey_levels_have_the_values_of_pyradiomics(factor):
    assert_equal(tissue() * np.float32(factor), ball(radius=6))


def test_more_levels_than_a_ct_has_are_summed_in_bands_to_the_same_values(monkeypatch):
    for module, name, few in (
        (matrices, "MOST_DENSE_LEVELS", 4),
        (glcm, "_ROWS", 3),
    ):
        monkeypatch.setattr(module, name, few)
    assert_equal(tissue(), ball())


@pytest.mark.parametrize("kind", [np.float64, np.int16])
def test_other_pixels_have_the_values_of_pyradiomics(kind):
    assert_equal(tissue().astype(kind), ball())


@pytest.mark.parametrize(
    "settings",
    [
        {"setting": {"binCount": 16, "weightingNorm": "euclidean"}},
        {"setting": {"resegmentRange": [-50, 90]}},
        {"setting": {"force2D": True}, "featureClass": {"glcm": ["MCC", "Id"]}},
        {"imageType": {"LBP3D": {"lbp3DLevels": 3}, "Wavelet": {"level": 2}}},
        {"featureClass": {"glcm": ["SumAverage", "MCC", "Id"], "gldm": ["DependencePercentage"]}},
        {"featureClass": {"shape": ["Compactness1"], "firstorder": ["StandardDeviation"]}},
    ],
)
def test_settings_beyond_the_replacements_have_the_values_of_pyradiomics(settings):
    pair = volume(tissue()), volume(ball())
    ours, theirs = (
        kind(settings, additionalInfo=False).execute(*pair)
        for kind in (FastExtractor, RadiomicsFeatureExtractor)
    )
    assert list(ours) == list(theirs) and ours
    for name, value in theirs.items():
        assert float(ours[name]) == pytest.approx(float(value), rel=1e-9, nan_ok=True), name


def test_the_mask_and_the_image_are_left_as_they_were():
    image, mask = volume(tissue()), volume(ball())
    before = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(mask)
    extracted(FastExtractor, image, mask)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), before[0])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(mask), before[1])
