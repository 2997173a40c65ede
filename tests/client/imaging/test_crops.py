from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from client.imaging.crops import crop2d, crop3d, resize_linear
from common.study.model import ImagingSettings

SMALL = ImagingSettings(crop2d_size=32, crop3d_size=24)


def images(values: np.ndarray, inside: np.ndarray) -> tuple[sitk.Image, sitk.Image]:
    return (
        sitk.GetImageFromArray(values.astype(np.float32)),
        sitk.GetImageFromArray(inside.astype(np.uint8)),
    )


def ellipsoid(shape, centre, axes) -> np.ndarray:
    grid = np.indices(shape)
    return sum(((g - c) / a) ** 2 for g, c, a in zip(grid, centre, axes, strict=True)) <= 1


def unit(values: np.ndarray) -> np.ndarray:
    return np.clip((values + 125) / 350, 0, 1)


@given(
    st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(1, 12)] * 3), st.integers(0, 99)
)
@settings(max_examples=40)
def test_resizing_is_that_of_torch(old, new, seed):
    values = np.random.default_rng(seed).normal(size=old).astype(np.float32)
    reference = torch.nn.functional.interpolate(
        torch.from_numpy(values)[None, None], size=new, mode="trilinear", align_corners=False
    )[0, 0].numpy()
    np.testing.assert_allclose(resize_linear(values, new), reference, atol=2e-6)


@given(st.integers(1, 30), st.integers(1, 30), st.floats(-1, 1))
@settings(max_examples=30)
def test_resizing_keeps_a_constant_and_the_range(old, new, value):
    values = np.full((old, 3), value, dtype=np.float32)
    np.testing.assert_allclose(resize_linear(values, (new, 3)), value, atol=1e-6)


def test_crop3d_is_the_bounding_cube_of_an_ellipsoid():
    rng = np.random.default_rng(0)
    values = rng.normal(40, 60, (60, 64, 70))
    inside = ellipsoid(values.shape, (30, 31, 33), (6, 9, 12))  # extents 13, 19, 25
    crop = crop3d(*images(values, inside), SMALL)
    cube = unit(values)[30 - 12 : 30 + 13, 31 - 12 : 31 + 13, 33 - 12 : 33 + 13]
    assert crop.shape == (24, 24, 24) and crop.dtype == np.float32
    np.testing.assert_allclose(crop, resize_linear(cube.astype(np.float32), (24,) * 3), atol=1e-6)


def test_crop3d_shows_the_ellipsoid_centred_and_undistorted():
    inside = ellipsoid((60, 64, 70), (30, 31, 33), (6, 9, 12))
    crop = crop3d(*images(np.where(inside, 225, -125), inside), SMALL)
    spread = np.argwhere(inside).std(axis=0) * 24 / 25
    np.testing.assert_allclose(np.argwhere(crop > 0.5).std(axis=0), spread, atol=0.15)
    middle = np.array(np.nonzero(crop > 0.5)).mean(axis=1)
    np.testing.assert_allclose(middle, 11.5, atol=0.3)


def test_crop3d_fills_what_lies_outside_the_image_with_the_windows_low_end():
    values = np.full((30, 40, 40), 50.0)
    inside = np.zeros(values.shape, dtype=bool)
    inside[0:4, 10:34, 10:34] = True  # the cube of 24 begins 10 slices below the image
    crop = crop3d(*images(values, inside), SMALL)
    assert (crop[:10] == 0).all()
    np.testing.assert_allclose(crop[10:], 0.5)


def test_values_are_the_window_mapped_to_zero_and_one():
    inside = np.ones((24, 24, 24), dtype=bool)
    for hu, expected in ((-125, 0), (50, 0.5), (225, 1)):
        crop = crop3d(*images(np.full(inside.shape, hu), inside), SMALL)
        np.testing.assert_allclose(crop, expected, atol=1e-6)


def test_crop2d_takes_the_largest_section_and_six_slices_on_each_side():
    values = np.random.default_rng(1).normal(40, 60, (50, 60, 60))
    inside = ellipsoid(values.shape, (25, 30, 28), (15, 8, 11))
    crop = crop2d(*images(values, inside), SMALL)
    rectangle = unit(values)[19:32, 22:39, 17:40]
    assert crop.shape == (13, 32, 32) and crop.dtype == np.float32
    expected = resize_linear(rectangle.astype(np.float32), (13, 32, 32))
    np.testing.assert_allclose(crop, expected, atol=1e-6)


def test_crop2d_does_not_leave_the_tumour():
    inside = ellipsoid((50, 60, 60), (25, 30, 28), (3, 8, 11))
    assert crop2d(*images(np.full(inside.shape, 50), inside), SMALL).shape == (7, 32, 32)


def test_crop2d_is_cut_by_the_largest_section_and_not_by_the_whole_roi():
    inside = np.zeros((9, 60, 60), dtype=bool)
    inside[4, 20:30, 20:30] = True
    inside[6, 2:4, 40:44] = True  # far from it, and small
    values = np.zeros(inside.shape)
    values[6] = np.linspace(-125, 225, 60)[None, :]
    crop = crop2d(*images(values, inside), SMALL)
    assert crop.shape[0] == 2
    expected = resize_linear(unit(values)[6, 20:30, 20:30].astype(np.float32), (32, 32))
    np.testing.assert_allclose(crop[1], expected, atol=1e-6)


def test_crop2d_takes_the_nearest_slices_with_tumour_and_none_without():
    inside = np.zeros((30, 40, 40), dtype=bool)
    inside[12, 10:30, 10:30] = True  # the largest
    holding = [2, 5, 9, 10, 12, 16, 17, 25]
    for z in holding:
        inside[z, 15:20, 15:20] = True
    values = np.broadcast_to(10.0 * np.arange(30)[:, None, None], inside.shape)
    for each, taken in ((2, [9, 10, 12, 16, 17]), (3, [5, 9, 10, 12, 16, 17, 25]), (9, holding)):
        chosen = ImagingSettings(crop2d_size=16, crop2d_slices_each_side=each)
        crop = crop2d(*images(values, inside), chosen)
        expected = unit(10.0 * np.array(taken))
        np.testing.assert_allclose(crop.mean(axis=(1, 2)), expected, atol=1e-6)


@pytest.mark.parametrize(("each", "slices"), [(0, 1), (2, 5), (40, 31)])
def test_crop2d_follows_the_number_of_slices_in_the_study(each, slices):
    inside = ellipsoid((50, 60, 60), (25, 30, 28), (15, 8, 11))
    chosen = ImagingSettings(crop2d_size=16, crop2d_slices_each_side=each)
    assert crop2d(*images(np.full(inside.shape, 50), inside), chosen).shape[0] == slices


def test_a_single_voxel_gives_crops_of_its_value():
    inside = np.zeros((9, 9, 9), dtype=bool)
    inside[4, 4, 4] = True
    values = np.where(inside, 50, 225)
    np.testing.assert_allclose(crop3d(*images(values, inside), SMALL), 0.5)
    np.testing.assert_allclose(crop2d(*images(values, inside), SMALL), 0.5)
