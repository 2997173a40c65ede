"""A scan stored in all 48 orders gives the same result."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from client.imaging.crops import crop2d, crop3d
from client.imaging.geometry import StoredAxes, oriented, plain_mm, stored_axes, stored_grid
from client.imaging.preprocess import preprocess
from client.imaging.radiomics import extraction
from client.imaging.reading import read_image, read_mask
from common.study.model import ImagingSettings

SPACING, SHAPE = (0.8, 0.8, 2.5), (12, 34, 30)
CROPS = ImagingSettings(crop3d_size=24, crop2d_size=24)
ORDERS = list(product(permutations(range(3)), product((False, True), repeat=3)))


def scan(direction=None, origin=(-31.3, 12.7, 5.1)) -> tuple[sitk.Image, sitk.Image]:
    """Noise, and an ROI unlike its mirror images and turned forms."""
    values = np.random.default_rng(7).normal(40, 90, SHAPE).round().astype(np.float32)
    z, y, x = np.indices(SHAPE)
    at = [(z - 5) * 2.5, (y - 15) * 0.8 + (z - 5), (x - 13) * 0.8 - (y - 15) * 0.3]
    inside = (at[0] / 9) ** 2 + (at[1] / 7) ** 2 + (at[2] / 5) ** 2 < 1
    made = []
    for array in (values, inside.astype(np.uint8)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(SPACING)
        image.SetOrigin(origin)
        image.SetDirection(np.ravel(np.eye(3) if direction is None else direction).tolist())
        made.append(image)
    return made[0], made[1]


def as_arrays(images) -> list[np.ndarray]:
    return [sitk.GetArrayFromImage(image) for image in images]


def read(folder: Path, images, ending: str = ".nii") -> tuple[sitk.Image, sitk.Image]:
    paths = [folder / f"{name}{ending}" for name in ("ct", "roi")]
    for image, path in zip(images, paths, strict=True):
        sitk.WriteImage(image, str(path))
    image = read_image(paths[0])
    return image, read_mask(paths[1], image)


def handed_over(image: sitk.Image, mask: sitk.Image) -> list[np.ndarray]:
    """Return the inputs of PyRadiomics and of the networks."""
    tool = extraction.tool_of("radiomics-1834", "fast")
    resampled = extraction.resample_roi(image, mask, tool.resampling, None, "fast")
    assert resampled[0].GetDirection() == resampled[1].GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    near = preprocess(image, mask, CROPS)
    return [*as_arrays(resampled), crop3d(*near, CROPS), crop2d(*near, CROPS)]


def assert_same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def upright(tmp_path_factory) -> tuple[sitk.Image, sitk.Image]:
    return read(tmp_path_factory.mktemp("upright"), scan())


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_all_48_orders_and_flips_give_the_same_arrays(tmp_path, upright, ending):
    expected = handed_over(*upright)
    for axes, turned in ORDERS:
        stored = [StoredAxes(axes, turned).apply(image) for image in scan()]
        found = read(tmp_path, stored, ending)
        assert_same(as_arrays(found), as_arrays(upright))
        assert found[0].GetSpacing() == SPACING
        assert_same(handed_over(*found), expected)


def test_a_mask_may_be_stored_in_another_order_than_its_image(tmp_path, upright):
    image, mask = scan()
    stored = image, StoredAxes((2, 0, 1), (True, False, True)).apply(mask)
    assert_same(as_arrays(read(tmp_path, stored)), as_arrays(upright))


@pytest.mark.parametrize("orientation", ["LAS", "RAS", "PIR", "SRA"])
def test_all_1834_features_are_the_same_in_any_order(tmp_path, upright, orientation):
    names, expected = extraction.extract_roi(*upright, "radiomics-1834", 1834)
    stored = [sitk.DICOMOrient(image, orientation) for image in scan()]
    found_names, found = extraction.extract_roi(*read(tmp_path, stored), "radiomics-1834", 1834)
    assert found_names == names
    np.testing.assert_array_equal(found, expected)


def test_the_order_decides_the_features_where_nobody_minds_it():
    """Without this the tests above could not fail."""
    settings_ = "radiomics-1834", 1834
    values = [
        extraction.extract_roi(*[sitk.DICOMOrient(i, to) for i in scan()], *settings_)[1]
        for to in ("LPS", "PIR")
    ]
    assert (np.abs(values[1] - values[0]) > 0.1 * np.abs(values[0])).sum() > 200


places = st.tuples(*[st.floats(-1500, 1500)] * 3)


@settings(max_examples=40, deadline=None)
@given(places, st.integers(0, 2**32 - 1), st.floats(0, 40))
def test_neither_origin_nor_an_oblique_header_moves_a_voxel(upright, place, seed, degrees):
    axis = Rotation.random(rng=seed).as_rotvec()
    turn = Rotation.from_rotvec(axis / np.linalg.norm(axis) * np.radians(degrees)).as_matrix()
    moved = [oriented(image) for image in scan(turn, place)]
    assert_same(handed_over(*moved), handed_over(*upright))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_turned_scan_comes_out_the_same_of_all_48_orders(seed):
    turn = Rotation.random(rng=seed).as_matrix()
    images = [StoredAxes(*order).apply(scan(turn)[1]) for order in ORDERS[seed % 7 :: 7]]
    found = [oriented(image) for image in images]
    assert len({sitk.GetArrayFromImage(image).tobytes() for image in found}) == 1
    np.testing.assert_allclose([i.GetOrigin() for i in found], [found[0].GetOrigin()] * len(found))


def test_a_scan_turned_by_45_degrees_comes_out_the_same_of_all_48_orders():
    turn = Rotation.from_euler("z", 45, degrees=True).as_matrix()
    found = [oriented(StoredAxes(*order).apply(scan(turn)[1])) for order in ORDERS]
    assert len({sitk.GetArrayFromImage(image).tobytes() for image in found}) == 1


@pytest.mark.parametrize("order", ORDERS[::5])
def test_a_voxel_keeps_its_place_and_the_way_back_is_known(order):
    stored = StoredAxes(*order).apply(scan()[0])
    made = oriented(stored)
    back = stored_axes(made).undo().apply(made)
    assert_same(as_arrays([back]), as_arrays([stored]))
    for image in (back, stored_grid(made)):
        assert image.GetSize() == stored.GetSize()
        for get in ("GetSpacing", "GetOrigin", "GetDirection"):
            np.testing.assert_allclose(getattr(image, get)(), getattr(stored, get)(), atol=1e-9)
    for voxel in [(0, 0, 0), (3, 5, 7)]:
        value = stored.GetPixel(voxel)
        at = made.TransformPhysicalPointToIndex(stored.TransformIndexToPhysicalPoint(voxel))
        assert made.GetPixel(at) == value


def test_it_is_the_orientation_of_itk(upright):
    for orientation in ("LAS", "PIR", "SRA"):
        stored = sitk.DICOMOrient(scan()[0], orientation)
        reference = sitk.DICOMOrient(stored, "LPS")
        assert_same(as_arrays([oriented(stored)]), as_arrays([reference]))
        np.testing.assert_allclose(oriented(stored).GetOrigin(), reference.GetOrigin())


@given(st.decimals("0.05", "20", places=4).map(float))
def test_a_spacing_is_the_same_number_in_single_precision_and_in_text(mm):
    near = np.float32(mm)
    assert plain_mm(mm) == plain_mm(float(near)) == mm
    assert plain_mm(float(np.nextafter(near, np.float32(np.inf)))) == mm


@given(st.floats(0.05, 20))
def test_a_spacing_hardly_changes_and_is_the_same_once_stored_in_single_precision(mm):
    assert plain_mm(mm) == pytest.approx(mm, rel=3e-7)
    assert plain_mm(float(np.float32(mm))) == plain_mm(mm)
