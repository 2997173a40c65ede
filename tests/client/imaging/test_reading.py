from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by

from client.imaging.reading import PatientError, read_image, read_mask
from common.errors import StudyError

SHAPE = (20, 24, 28)


def volume(values: np.ndarray, *, spacing=(0.9, 0.9, 3.0), origin=(-5.0, 7.0, 11.0)) -> sitk.Image:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    return image


def write(path: Path, values: np.ndarray, **geometry) -> Path:
    sitk.WriteImage(volume(values, **geometry), str(path))
    return path


def hu() -> np.ndarray:
    return np.random.default_rng(0).normal(40, 60, SHAPE).round().astype(np.float32)


def ball(label: float = 1, dtype=np.uint8) -> np.ndarray:
    values = np.zeros(SHAPE, dtype=dtype)
    values[8:12, 9:15, 10:18] = label
    return values


@pytest.fixture
def image(tmp_path) -> sitk.Image:
    return read_image(write(tmp_path / "ct.nii.gz", hu()))


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nii", "ct.nrrd", "ct.mha"])
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_reads_every_format_and_type_as_the_same_float32_volume(tmp_path, name, dtype):
    found = read_image(write(tmp_path / name, hu().astype(dtype)))
    assert found.GetPixelID() == sitk.sitkFloat32
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), hu())
    np.testing.assert_allclose(found.GetSpacing(), (0.9, 0.9, 3.0), atol=1e-6)
    np.testing.assert_allclose(found.GetOrigin(), (-5, 7, 11), atol=1e-5)


@pytest.mark.parametrize("label", [1, 2, 255])
def test_mask_becomes_zero_and_one_whatever_its_label(tmp_path, image, label):
    found = read_mask(write(tmp_path / "roi.nii.gz", ball(label)), image)
    assert found.GetPixelID() == sitk.sitkUInt8
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), ball())


def test_a_patient_error_is_a_study_error_that_names_the_file_without_its_folder(tmp_path):
    path = tmp_path / "Jane_Doe" / "ct.nii.gz"
    with pytest.raises(PatientError) as caught:
        read_image(path)
    assert isinstance(caught.value, StudyError)
    assert str(caught.value) == "ct.nii.gz: no such file -> correct the path in cohort.csv"


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.99, -8, -1])
@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nii"])
def test_refuses_a_nifti_cut_anywhere(tmp_path, name, keep):
    path = write(tmp_path / name, hu())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep) if keep > 0 else keep])
    with pytest.raises(PatientError, match=r"unreadable: (truncated|its header)") as caught:
        read_image(path)
    assert caught.value.remedy == "copy or export the file again"


def test_the_reading_library_alone_would_take_a_cut_nifti_for_whole(tmp_path):
    path = write(tmp_path / "ct.nii.gz", hu())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    assert values.shape == SHAPE and not np.array_equal(values, hu())


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.mha"])
def test_refuses_other_formats_cut_in_half(tmp_path, name):
    path = write(tmp_path / name, hu())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PatientError, match=r"unreadable: truncated, \d+ of 53760 bytes"):
        read_image(path)


def test_refuses_a_nifti_with_a_flipped_byte(tmp_path):
    path = write(tmp_path / "ct.nii.gz", hu())
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(bytes(damaged))
    with pytest.raises(PatientError, match="compressed data are damaged"):
        read_image(path)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_counts_what_is_not_finite_across_the_pieces_it_is_read_in(tmp_path, dtype):
    values = np.random.default_rng(0).normal(size=(40, 120, 130)).astype(dtype)
    values.ravel()[::60_007] = np.nan
    with pytest.raises(PatientError, match=f"{values.size // 60_007 + 1} voxels are not finite"):
        read_image(write(tmp_path / "ct.nii.gz", values))


@pytest.mark.parametrize("content", [b"", b"not an image at all" * 100])
@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nrrd", "ct.mha"])
def test_refuses_what_is_no_image(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PatientError, match="unreadable"):
        read_image(tmp_path / name)


def test_refuses_an_unknown_ending(tmp_path):
    (tmp_path / "ct.jpg").write_bytes(b"x")
    with pytest.raises(PatientError, match=r"not a known image format -> use \.nii"):
        read_image(tmp_path / "ct.jpg")


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nii", "ct.nrrd", "ct.mha"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_voxels_that_are_not_finite(tmp_path, bad, name):
    values = hu()
    values[3, 4, 5:7] = bad
    with pytest.raises(PatientError, match=rf"{name}: 2 voxels are not finite numbers"):
        read_image(write(tmp_path / name, values))


def test_refuses_a_slice_a_series_in_time_and_colours(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(hu()[0]), str(tmp_path / "flat.nrrd"))
    with pytest.raises(PatientError, match=r"not 3-D: 2 dimensions \(28 x 24\)"):
        read_image(tmp_path / "flat.nrrd")
    moving = sitk.JoinSeries([volume(hu()), volume(hu())])
    sitk.WriteImage(moving, str(tmp_path / "moving.nii.gz"))
    with pytest.raises(PatientError, match=r"not 3-D: 4 dimensions \(28 x 24 x 20 x 2\)"):
        read_image(tmp_path / "moving.nii.gz")
    sitk.WriteImage(sitk.Compose(volume(hu()), volume(hu())), str(tmp_path / "colours.nrrd"))
    with pytest.raises(PatientError, match="2 values a voxel instead of one"):
        read_image(tmp_path / "colours.nrrd")


@pytest.mark.parametrize(
    ("geometry", "name"),
    [
        ({"spacing": (0.9, 0.9, 3.002)}, "spacing"),
        ({"origin": (-5.0, 7.002, 11.0)}, "origin"),
    ],
)
def test_refuses_a_mask_on_another_grid_and_never_moves_it(tmp_path, image, geometry, name):
    path = write(tmp_path / "roi.nii.gz", ball(), **geometry)
    with pytest.raises(
        PatientError, match=rf"roi\.nii\.gz: mask geometry: {name} \(.*\) is not the"
    ):
        read_mask(path, image)


def test_a_mask_whose_geometry_differs_by_rounding_only_takes_the_image_s(tmp_path, image):
    path = write(tmp_path / "roi.nrrd", ball(), origin=(-5.0004, 7.0, 11.0))
    assert read_mask(path, image).GetOrigin() == image.GetOrigin()


def test_refuses_a_mask_of_another_size_or_direction(tmp_path, image):
    with pytest.raises(
        PatientError, match=r"mask geometry: size \(28, 24, 19\) is not the image's"
    ):
        read_mask(write(tmp_path / "roi.nrrd", ball()[:-1]), image)
    turned = volume(ball())
    turned.SetDirection((0.96, 0.28, 0, -0.28, 0.96, 0, 0, 0, 1))
    sitk.WriteImage(turned, str(tmp_path / "turned.nrrd"))
    with pytest.raises(PatientError, match="mask geometry: direction"):
        read_mask(tmp_path / "turned.nrrd", image)


def test_refuses_an_empty_mask(tmp_path, image):
    with pytest.raises(PatientError, match=r"the mask is empty -> save the segmentation"):
        read_mask(write(tmp_path / "roi.nii.gz", ball(0)), image)


@pytest.mark.parametrize(
    ("extra", "listed"), [(2, "1, 2"), (0.5, "0.5, 1"), (-1, "-1, 1"), (np.inf, None)]
)
def test_refuses_several_labels(tmp_path, image, extra, listed):
    values = ball(1, np.float32)
    values[0, 0, 0] = extra
    expected = "several labels in the mask (" + listed if listed else "not finite numbers"
    with pytest.raises(PatientError, match=re.escape(expected)):
        read_mask(write(tmp_path / "roi.nii.gz", values), image)


def test_refuses_an_roi_that_lies_where_the_image_holds_nothing(tmp_path):
    values = hu()
    values[7:13] = -1024
    image = read_image(write(tmp_path / "ct.nii.gz", values))
    with pytest.raises(PatientError, match="the ROI touches nothing: the image is -1024 HU"):
        read_mask(write(tmp_path / "roi.nii.gz", ball()), image)


def test_a_truncated_mask_is_refused_too(tmp_path, image):
    path = write(tmp_path / "roi.nii.gz", ball())
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(PatientError, match=r"roi\.nii\.gz: unreadable"):
        read_mask(path, image)
