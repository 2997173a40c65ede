"""Resampling against ITK's spline and PyRadiomics' own grid, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from radiomics import imageoperations

from client.imaging.geometry import roi_box
from client.imaging.radiomics.spline import on_grid, resampled

SETTINGS = {
    "resampledPixelSpacing": [1, 1, 1],
    "interpolator": "sitkBSpline",
    "padDistance": 3,
    "label": 1,
}
SHAPE = (9, 30, 27)


def volume(shape=SHAPE, spacing=(0.9, 0.8, 2.7), kind=np.float32) -> sitk.Image:
    image = sitk.GetImageFromArray(np.random.default_rng(1).normal(40, 300, shape).astype(kind))
    image.SetSpacing(spacing)
    return image


def ball(image: sitk.Image, centre=(13, 15, 4), radius=3.0) -> sitk.Image:
    z, y, x = np.indices(tuple(reversed(image.GetSize())))
    at = zip((x, y, z), centre, strict=True)
    mask = sitk.GetImageFromArray((sum((i - c) ** 2 for i, c in at) < radius**2).astype(np.uint8))
    mask.CopyInformation(image)
    return mask


def assert_same(image: sitk.Image, mask: sitk.Image, **other: object) -> None:
    settings = {**SETTINGS, **other}
    ours = on_grid(image, mask, *roi_box(mask), settings)
    theirs = imageoperations.resampleImage(image, mask, **settings)
    for one, other_one in zip(ours, theirs, strict=True):
        assert one.GetSpacing() == other_one.GetSpacing()
        assert one.GetOrigin() == other_one.GetOrigin()
        assert one.GetPixelID() == other_one.GetPixelID()
        np.testing.assert_array_equal(
            sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(other_one)
        )


@pytest.mark.parametrize("spacing", [(0.9, 0.8, 2.7), (0.977, 0.977, 5.0), (1.3, 0.5, 1 / 3)])
def test_image_and_mask_are_those_of_pyradiomics_to_the_last_bit(spacing):
    image = volume(spacing=spacing)
    assert_same(image, ball(image))


@pytest.mark.parametrize("shape", [(4, 5, 6), (18, 19, 20), (40, 4, 21)])
def test_short_and_long_axes_begin_their_recursion_as_itk_does(shape):
    image = volume(shape)
    centre = [size // 2 for size in reversed(shape)]
    assert_same(image, ball(image, centre, 1.9), padDistance=50)


@pytest.mark.parametrize("centre", [(0, 0, 0), (26, 29, 8)])
def test_an_roi_at_the_edge_has_the_values_of_itk(centre):
    image = volume()
    assert_same(image, ball(image, centre))


def test_what_lies_outside_the_image_is_zero_as_in_itk():
    image = volume((6, 7, 8), (1.0, 1.0, 1.0))
    grid = sitk.Image([30, 28, 26], sitk.sitkUInt8)
    grid.SetSpacing((0.7, 0.6, 0.5))
    grid.SetOrigin((-3.3, -2.1, -1.7))
    made = resampled(image, grid)
    expected = sitk.Resample(image, grid, sitk.Transform(), sitk.sitkBSpline, 0.0)
    assert made is not None
    np.testing.assert_array_equal(sitk.GetArrayFromImage(made), sitk.GetArrayFromImage(expected))
    assert (sitk.GetArrayFromImage(made) == 0).any()


@pytest.mark.parametrize(
    "other",
    [
        {"interpolator": "sitkLinear"},
        {"resampledPixelSpacing": [0.9, 0.8, 2.7]},
        {"resampledPixelSpacing": [0, 1, 2]},
    ],
)
def test_other_settings_give_what_pyradiomics_gives(other):
    image = volume()
    assert_same(image, ball(image), **other)


def test_one_slice_is_not_resampled_across():
    image = volume()
    mask = sitk.GetArrayFromImage(ball(image))
    mask[:4] = mask[5:] = 0
    single = sitk.GetImageFromArray(mask)
    single.CopyInformation(image)
    assert_same(image, single)


@pytest.mark.parametrize(("shape", "kind"), [(SHAPE, np.float64), ((3, 9, 9), np.float32)])
def test_other_pixels_and_fewer_slices_are_left_to_itk(shape, kind):
    image = volume(shape, kind=kind)
    assert resampled(image, image) is None
    assert_same(image, ball(image, [size // 2 for size in reversed(shape)], 1.9))
