"""Filtered values against PyRadiomics' own filters."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from radiomics import imageoperations

from client.imaging.radiomics.filters import filtered
from client.imaging.radiomics.region import region

SIGMAS = {"sigma": [1.0, 2.0, 3.0]}
KINDS = {
    "Original": {},
    "Wavelet": {},
    "LoG": SIGMAS,
    "Square": {},
    "SquareRoot": {},
    "Logarithm": {},
    "Exponential": {},
    "Gradient": {},
    "LBP3D": {},
}


def pair(shape, shift=0.0, kind=np.float32) -> tuple[sitk.Image, sitk.Image]:
    random = np.random.default_rng(0)
    values = (random.normal(40, 200, shape) + shift).astype(kind)
    values[:, :2] = 0
    image = sitk.GetImageFromArray(values)
    mask = sitk.GetImageFromArray((random.random(shape) < 0.4).astype(np.uint8))
    image.SetSpacing((0.8, 1.0, 1.3))
    mask.SetSpacing((0.8, 1.0, 1.3))
    return image, mask


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(12, 14, 16), (11, 13, 15), (7, 8, 9)])
@pytest.mark.parametrize("shift", [0, -3000])
def test_values_are_those_of_pyradiomics_to_the_last_bit(kind, shape, shift):
    image, mask = pair(shape, shift)
    inside = sitk.GetArrayFromImage(mask) == 1
    own = {"label": 1, **KINDS[kind]}
    ours = list(filtered(kind, image, mask, region(inside), own))
    theirs = list(getattr(imageoperations, f"get{kind}Image")(image, mask, **own))
    assert [name for name, _ in ours] == [name for _, name, _ in theirs]
    for (name, values), (made, _, _) in zip(ours, theirs, strict=True):
        expected = sitk.GetArrayFromImage(made)[inside]
        assert values.dtype == expected.dtype, name
        np.testing.assert_array_equal(values, expected, name)


def test_other_levels_of_the_wavelet_are_left_to_pyradiomics():
    image, mask = pair((12, 12, 12))
    inside = sitk.GetArrayFromImage(mask) == 1
    names = [n for n, _ in filtered("Wavelet", image, mask, region(inside), {"level": 2})]
    assert len(names) == 15 and "wavelet2-LLL" in names
