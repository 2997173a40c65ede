"""The LBP-3D images against PyRadiomics' own, to the last bit."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from radiomics import imageoperations
from scipy.stats import kurtosis

from client.imaging.radiomics import lbp

SHAPE = (11, 13, 17)


def noise(seed=0, shape=SHAPE, kind=np.float32) -> np.ndarray:
    return np.random.default_rng(seed).normal(40, 90, shape).astype(kind)


def original(image: np.ndarray, roi: np.ndarray) -> list[np.ndarray]:
    pair = sitk.GetImageFromArray(image), sitk.GetImageFromArray(roi.astype(np.uint8))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        made = imageoperations.getLBP3DImage(*pair, label=1)
        return [sitk.GetArrayFromImage(one)[roi] for one, _, _ in made]


def assert_same(image: np.ndarray, roi: np.ndarray) -> None:
    around = lbp.sphere()
    assert around is not None
    ours = lbp.images(image, roi, around)
    assert ours is not None
    for one, other in zip(ours, original(image, roi), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("clip", [np.inf, 30])
def test_images_are_those_of_pyradiomics_to_the_last_bit(kind, clip):
    assert_same(np.clip(noise(kind=kind), -clip, clip), noise(1) > 60)


@pytest.mark.parametrize("shape", [(1, 9, 9), (2, 5, 7), (9, 1, 8), (8, 9, 1), (3, 3, 3)])
def test_the_borders_of_a_small_image_are_mirrored_as_scipy_does(shape):
    assert_same(noise(shape=shape), np.ones(shape, dtype=bool))


def test_a_processor_with_other_products_of_complex_numbers_has_the_same_images(monkeypatch):
    monkeypatch.setattr(lbp, "squares_hold", lambda: False)
    assert_same(noise(), noise(1) > 60)


def test_products_that_are_rounded_apart_would_be_noticed(monkeypatch):
    monkeypatch.setattr(
        lbp, "fast_squares", lambda sums, parts: lbp.original_squares(sums * 1j, parts)
    )
    lbp.squares_hold.cache_clear()
    try:
        assert not lbp.squares_hold()
    finally:
        lbp.squares_hold.cache_clear()


def test_blocks_do_not_show(monkeypatch):
    monkeypatch.setattr(lbp, "BLOCK", 7)
    assert_same(noise(), noise(1) > 0)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_kurtosis_is_scipys(kind):
    samples = noise(2, (500, 42), kind)
    samples[::5] = samples[::5, :1]
    samples[1::5] = np.round(samples[1::5] / 200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = kurtosis(samples, axis=1)
    np.testing.assert_array_equal(lbp.fast_kurtosis(samples.T.copy()), expected)
    assert np.isnan(expected).any()


def test_another_kurtosis_of_scipy_would_be_noticed(monkeypatch):
    monkeypatch.setattr(
        lbp, "original_kurtosis", lambda samples: kurtosis(samples, axis=0) * 1.0001
    )
    lbp.kurtosis_holds.cache_clear()
    try:
        assert not lbp.kurtosis_holds()
    finally:
        lbp.kurtosis_holds.cache_clear()


def test_whole_numbers_are_left_to_pyradiomics():
    assert lbp.images(noise(kind=np.int16), np.ones(SHAPE, dtype=bool), lbp.sphere()) is None
