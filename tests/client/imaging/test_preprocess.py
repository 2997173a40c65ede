from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from scipy import ndimage

from client.imaging.errors import PatientError
from client.imaging.geometry import oriented
from client.imaging.preprocess import Grid, preprocess
from client.imaging.reading import read_image, read_mask
from common.study.model import ImagingSettings

STS = Path(__file__).parents[4] / "shared" / "data" / "sts"
SPACING = (0.7, 0.75, 2.5)


def array(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def make(values: np.ndarray, spacing=SPACING) -> sitk.Image:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing)
    image.SetOrigin((-30.0, 12.0, 5.0))
    return image


def patient(spacing=SPACING, shape=(40, 130, 120), centre=(18, 60, 50), radius=12.0):
    """Noise with an air edge, and a ball of `radius` mm."""
    values = np.random.default_rng(1).normal(40, 150, shape).astype(np.float32)
    values[:, :, :25] = -1000
    at = [(i - c) * s for i, c, s in zip(np.indices(shape), centre, spacing[::-1], strict=True)]
    ball = (sum(a**2 for a in at) < radius**2).astype(np.uint8)
    return make(values, spacing), make(ball, spacing)


def on_the_whole_grid(image, mask, settings, near):
    """The same without restriction to the ROI, cut to the region of `near` afterwards."""
    grid = Grid.over(image, settings.spacing_mm)
    windowed = settings.order == "window_first"
    source = sitk.Clamp(image, sitk.sitkFloat32, -125, 225) if windowed else image
    whole = sitk.Clamp(grid.spline(source), sitk.sitkFloat32, -125, 225)
    roi = grid.nearest(mask)
    first = whole.TransformPhysicalPointToIndex(near.GetOrigin())
    return (
        sitk.RegionOfInterest(whole, near.GetSize(), first),
        sitk.RegionOfInterest(roi, near.GetSize(), first),
        roi,
    )


@pytest.mark.parametrize("order", ["window_first", "resample_first"])
@pytest.mark.parametrize("centre", [(18, 60, 50), (2, 10, 12), (38, 125, 115)])
def test_the_roi_neighbourhood_has_the_voxels_of_the_whole_grid(order, centre):
    image, mask = patient(centre=centre)
    settings = ImagingSettings(order=order)
    near, roi = preprocess(image, mask, settings)
    whole, whole_roi, all_roi = on_the_whole_grid(image, mask, settings, near)
    np.testing.assert_allclose(array(near), array(whole), atol=1e-3)
    np.testing.assert_array_equal(array(roi), array(whole_roi))
    assert array(roi).sum() == array(all_roi).sum()
    assert near.GetNumberOfPixels() < all_roi.GetNumberOfPixels()


def test_agrees_with_the_cubic_spline_of_scipy():
    image, mask = patient()
    near, _ = preprocess(image, mask, ImagingSettings(order="resample_first"))
    index = np.indices(near.GetSize()).reshape(3, -1).T[::97]
    points = [near.TransformIndexToPhysicalPoint(i.tolist()) for i in index]
    at = np.array([image.TransformPhysicalPointToContinuousIndex(p) for p in points]).T[::-1]
    spline = ndimage.map_coordinates(
        array(image).astype(np.float64), at, order=3, mode="mirror", prefilter=True
    )
    found = array(near)[tuple(index.T[::-1])]
    np.testing.assert_allclose(found, np.clip(spline, -125, 225), atol=1e-3)


def test_the_mask_is_that_of_itk_wherever_two_voxels_are_not_equally_near():
    spacing = (0.71, 0.77, 2.53)
    _, mask = patient(spacing=spacing)
    grid = Grid.over(mask, 1.0)
    found = grid.nearest(mask)
    reference = sitk.Resample(mask, found, sitk.Transform(), sitk.sitkNearestNeighbor)
    steps = [(grid.offset[d] + np.arange(grid.size[d])) / spacing[d] for d in (2, 1, 0)]
    clear = np.ix_(*[np.abs(s % 1 - 0.5) > 1e-6 for s in steps])
    assert array(found)[clear].size > 0.9 * array(found).size
    np.testing.assert_array_equal(array(found)[clear], array(reference)[clear])


@pytest.mark.parametrize("order", ["window_first", "resample_first"])
def test_spline_overshoot_is_clipped(order):
    image, mask = patient()
    near, _ = preprocess(image, mask, ImagingSettings(order=order))
    assert array(near).min() >= -125 and array(near).max() <= 225


def test_the_two_orders_differ_where_the_window_cuts():
    image, mask = patient()
    first, _ = preprocess(image, mask, ImagingSettings(order="window_first"))
    last, _ = preprocess(image, mask, ImagingSettings(order="resample_first"))
    assert np.abs(array(first) - array(last)).max() > 10


def test_grid_is_centred_on_the_image_and_stays_inside_it():
    image, _ = patient()
    grid = Grid.over(image, 1.0)
    assert grid.size.tolist() == [84, 97, 100]  # 84.0, 97.5 and 100.0 mm
    extent = np.array(image.GetSize()) * np.array(SPACING)
    before = grid.offset + np.array(SPACING) / 2 - 0.5
    after = extent - before - grid.size
    np.testing.assert_allclose(before, after, atol=1e-9)
    assert (before > -1e-6).all()


def test_an_image_of_the_wanted_spacing_is_cut_and_clipped_only():
    image, mask = patient(spacing=(1.0, 1.0, 1.0))
    near, roi = preprocess(image, mask, ImagingSettings())
    first = image.TransformPhysicalPointToIndex(near.GetOrigin())
    same = sitk.RegionOfInterest(image, near.GetSize(), first)
    np.testing.assert_array_equal(array(near), np.clip(array(same), -125, 225))
    assert array(roi).sum() == array(mask).sum()


def test_resampled_roi_keeps_its_volume_and_place():
    image, mask = patient(radius=15.0)
    near, roi = preprocess(image, mask, ImagingSettings())
    volume = 4 / 3 * np.pi * 15**3
    assert array(roi).sum() == pytest.approx(volume, rel=0.02)
    middle = np.argwhere(array(roi)).mean(axis=0)[::-1].tolist()
    found = near.TransformContinuousIndexToPhysicalPoint(middle)
    expected = mask.TransformContinuousIndexToPhysicalPoint((50.0, 60.0, 18.0))
    np.testing.assert_allclose(found, expected, atol=0.3)


def test_patients_stored_in_another_orientation_give_the_same_voxels():
    image, mask = patient(spacing=(0.7, 0.7, 2.5))
    near, roi = preprocess(image, mask, ImagingSettings())
    for orientation in ("RAS", "PIR", "LAI"):
        turned = [oriented(sitk.DICOMOrient(i, orientation)) for i in (image, mask)]
        near2, roi2 = preprocess(*turned, ImagingSettings())
        np.testing.assert_array_equal(array(near2), array(near))
        np.testing.assert_array_equal(array(roi2), array(roi))
        np.testing.assert_allclose(near2.GetOrigin(), near.GetOrigin(), atol=1e-6)


def test_region_holds_the_bounding_cube_of_a_long_roi():
    values = np.random.default_rng(0).normal(40, 50, (80, 90, 100)).astype(np.float32)
    mask = np.zeros(values.shape, dtype=np.uint8)
    mask[20:60, 44:46, 48:53] = 1  # 40 mm long, 2 and 5 mm wide
    near, _ = preprocess(
        make(values, (1.0, 1.0, 1.0)), make(mask, (1.0, 1.0, 1.0)), ImagingSettings()
    )
    assert min(near.GetSize()) >= 40


def test_a_slice_wide_roi_survives_and_a_vanishing_one_is_refused():
    image, _ = patient()
    thin = np.zeros((40, 130, 120), dtype=np.uint8)
    thin[18, 50:60, 50:60] = 1
    _, roi = preprocess(image, make(thin), ImagingSettings())
    assert array(roi).sum() > 0
    dot = np.zeros((40, 130, 120), dtype=np.uint8)
    dot[18, 50, 50] = 1
    with pytest.raises(PatientError, match="nothing is left of the ROI on a grid of 5 mm"):
        preprocess(image, make(dot), ImagingSettings(spacing_mm=5.0))


def test_an_roi_in_air_is_refused():
    values = np.random.default_rng(0).normal(-1000, 5, (30, 40, 50)).astype(np.float32)
    mask = np.zeros(values.shape, dtype=np.uint8)
    mask[10:20, 10:20, 10:20] = 1
    with pytest.raises(PatientError, match="the whole ROI lies outside the window of -125 to 225"):
        preprocess(make(values), make(mask), ImagingSettings())


@pytest.mark.skipif(not STS.is_dir(), reason="shared/data/sts is not beside the project")
def test_real_ct_has_the_voxels_of_the_whole_grid():
    path = next(STS.glob("centre_*/images/STS_002.nii.gz"))
    image = read_image(path)
    mask = read_mask(path.parents[1] / "masks" / "r1" / path.name, image)
    near, roi = preprocess(image, mask, ImagingSettings())
    whole, whole_roi, _ = on_the_whole_grid(image, mask, ImagingSettings(), near)
    np.testing.assert_allclose(array(near), array(whole), atol=1e-3)
    np.testing.assert_array_equal(array(roi), array(whole_roi))
