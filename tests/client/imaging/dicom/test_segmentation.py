from __future__ import annotations

import copy
import re
from collections.abc import Callable
from itertools import permutations

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by

from client.imaging.geometry import stored_axes
from client.imaging.reading import PatientError, read_image, read_mask
from tests.client.imaging.dicom.conftest import Series


def ball() -> np.ndarray:
    z, y, x = np.indices((6, 18, 24))
    return ((z - 2.4) ** 2 * 4 + (y - 8) ** 2 + (x - 15) ** 2 < 30).astype(np.uint8)


def block() -> np.ndarray:
    mask = np.zeros((6, 18, 24), dtype=np.uint8)
    mask[4:6, 2:5, 1:4] = 1
    return mask


def mask_of(ct, path) -> np.ndarray:
    """The mask in the order of the slices that it was drawn on."""
    image = read_image(ct.folder)
    mask = stored_axes(image).undo().apply(read_mask(path, image))
    return sitk.GetArrayFromImage(mask)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize(
    "orientation", [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (0.96, 0.28, 0, -0.28, 0.96, 0)]
)
def test_a_segment_comes_back_as_it_was_saved(tmp_path, make_series, orientation, kind):
    ct = make_series(tmp_path / "ct", orientation)
    path = ct.seg(tmp_path / "seg.dcm", {"GTV": ball()}, kind)
    np.testing.assert_array_equal(mask_of(ct, path), ball())


def test_frames_left_out_are_empty_and_a_single_one_is_enough(tmp_path, ct):
    mask = np.where(np.arange(6)[:, None, None] == 4, block(), 0).astype(np.uint8)
    path = ct.seg(tmp_path / "seg.dcm", {"GTV": mask})
    assert pydicom.dcmread(path).NumberOfFrames == 1
    np.testing.assert_array_equal(mask_of(ct, path), mask)


def test_the_segment_is_chosen_by_its_label(tmp_path, ct):
    path = ct.seg(tmp_path / "seg.dcm", {"GTV": ball(), "node left": block()})
    np.testing.assert_array_equal(mask_of(ct, tmp_path / "seg.dcm#GTV"), ball())
    np.testing.assert_array_equal(mask_of(ct, tmp_path / "seg.dcm#node left"), block())
    with pytest.raises(
        PatientError, match=re.escape('2 ROIs in one file ("GTV", "node left") -> name the one')
    ):
        mask_of(ct, path)
    with pytest.raises(PatientError, match='no ROI "node" is drawn; there are "GTV", "node left"'):
        mask_of(ct, tmp_path / "seg.dcm#node")


def test_refuses_a_segmentation_of_another_series(tmp_path, ct, make_series):
    other = make_series(tmp_path / "other")
    path = other.seg(tmp_path / "seg.dcm", {"GTV": ball()})
    with pytest.raises(PatientError, match=r"seg\.dcm: a segmentation of another series"):
        mask_of(ct, path)


def test_refuses_another_frame_of_reference(tmp_path, ct):
    path = ct.seg(tmp_path / "seg.dcm", {"GTV": ball()})
    for k in range(6):
        ct.change(k, FrameOfReferenceUID="1.2.3")
    with pytest.raises(PatientError, match="another frame of reference"):
        mask_of(ct, path)


def test_refuses_a_segmentation_that_names_no_series(tmp_path, ct):
    path = ct.seg(tmp_path / "seg.dcm", {"GTV": ball()})
    made = pydicom.dcmread(path)
    del made.ReferencedSeriesSequence
    made.save_as(path)
    with pytest.raises(PatientError, match="does not say which series it belongs to"):
        mask_of(ct, path)


def test_refuses_a_fractional_segmentation(tmp_path, ct):
    path = ct.seg(tmp_path / "seg.dcm", {"GTV": ball()}, "FRACTIONAL")
    with pytest.raises(PatientError, match=r"a fractional segmentation: .* save it as a binary"):
        mask_of(ct, path)


@pytest.mark.parametrize(
    "shift", [{"PixelSpacing": [0.45, 0.4]}, {"PixelSpacing": [1.8, 1.6]}, {"at": 0.3}]
)
def test_refuses_another_grid(tmp_path, ct, shift):
    path = ct.seg(tmp_path / "seg.dcm", {"GTV": ball()})
    made = pydicom.dcmread(path)
    shared = made.SharedFunctionalGroupsSequence[0]
    if "PixelSpacing" in shift:
        shared.PixelMeasuresSequence[0].PixelSpacing = shift["PixelSpacing"]
    for frame in made.PerFrameFunctionalGroupsSequence:
        position = frame.PlanePositionSequence[0]
        x, y, z = (float(v) for v in position.ImagePositionPatient)
        position.ImagePositionPatient = [x + shift.get("at", 0), y, z]
    made.save_as(path)
    with pytest.raises(PatientError, match="the segmentation is on another grid than the series"):
        mask_of(ct, path)


def test_refuses_a_segment_beyond_the_slices_of_the_series(tmp_path, ct):
    path = ct.seg(tmp_path / "seg.dcm", {"GTV": block()})
    ct.slice(5).unlink()
    with pytest.raises(PatientError, match="reaches beyond the slices of the series"):
        mask_of(ct, path)


def test_refuses_an_empty_and_a_damaged_file(tmp_path, ct):
    path = ct.seg(tmp_path / "seg.dcm", {"GTV": ball()})
    made = pydicom.dcmread(path)
    made.PixelData = bytes(len(made.PixelData))
    made.save_as(path)
    with pytest.raises(PatientError, match="the mask is empty"):
        mask_of(ct, path)
    made.PixelData = made.PixelData[:8]
    made.save_as(path)
    with pytest.raises(PatientError, match=r"seg\.dcm: not a DICOM file, damaged, or against"):
        mask_of(ct, path)


def test_refuses_a_segmentation_beside_an_image_that_is_no_dicom_series(tmp_path, ct):
    path = ct.seg(tmp_path / "seg.dcm", {"GTV": ball()})
    sitk.WriteImage(read_image(ct.folder), str(tmp_path / "ct.nrrd"))
    with pytest.raises(PatientError, match="the image is not the DICOM series"):
        read_mask(path, read_image(tmp_path / "ct.nrrd"))


@pytest.mark.parametrize("order", list(permutations(("GTV", "node", "organ"))))
def test_a_label_map_gives_the_voxels_of_the_wanted_label_alone(tmp_path, ct, order):
    z, y, x = np.indices((6, 18, 24))
    gtv, node = ball().astype(bool), block().astype(bool)
    organ = ((z - 2.4) ** 2 * 2 + (y - 8) ** 2 + (x - 15) ** 2 < 60) & ~gtv & ~node
    masks = {"GTV": gtv, "node": node, "organ": organ}
    path = ct.seg(tmp_path / "seg.dcm", {name: masks[name] for name in order}, "LABELMAP")
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask_of(ct, path.with_name(f"seg.dcm#{name}")), mask)


def frames_of(made: pydicom.Dataset) -> list[pydicom.Dataset]:
    return list(made.PerFrameFunctionalGroupsSequence)


def moved_by_a_slice(made: pydicom.Dataset) -> None:
    for frame in frames_of(made):
        place = frame.PlanePositionSequence[0]
        x, y, z = (float(v) for v in place.ImagePositionPatient)
        place.ImagePositionPatient = [x, y, z + 2.5]


def twice(made: pydicom.Dataset) -> None:
    pixels = made.pixel_array.astype(np.uint8)
    made.BitsAllocated, made.BitsStored, made.HighBit = 8, 8, 7
    made.PixelData = np.concatenate([pixels, 0 * pixels[1:2]]).tobytes()
    made.NumberOfFrames += 1
    made.PerFrameFunctionalGroupsSequence.append(copy.deepcopy(frames_of(made)[1]))


def fewer_items(made: pydicom.Dataset) -> None:
    made.PerFrameFunctionalGroupsSequence = frames_of(made)[:-1]


def no_place(made: pydicom.Dataset) -> None:
    del frames_of(made)[2].PlanePositionSequence


def no_numbers(made: pydicom.Dataset) -> None:
    frames_of(made)[2].PlanePositionSequence[0].ImagePositionPatient = [0, 0]


def several_labels(made: pydicom.Dataset) -> None:
    pixels = made.pixel_array.astype(np.uint8)
    made.BitsAllocated, made.BitsStored, made.HighBit = 8, 8, 7
    pixels[:, 8, 15] = 2
    made.PixelData = pixels.tobytes()


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (moved_by_a_slice, "frame 1 names another slice than the one its position lies on"),
        (twice, "frames 2 and 5 hold the segment in the same place"),
        (fewer_items, "4 frames by its header, which describes 3 of them"),
        (no_place, "frame 3 has no PlanePositionSequence"),
        (no_numbers, "ImagePositionPatient of frame 3 is missing, or not 3 finite numbers"),
        (several_labels, "frame 1 of a binary segmentation holds several labels"),
    ],
)
def test_refuses_frames_that_contradict_themselves(
    tmp_path, ct, spoil: Callable[[pydicom.Dataset], None], what: str
):
    mask = ball()
    mask[[0, 5]] = 0  # so that frames can be moved within the series
    path = ct.seg(tmp_path / "seg.dcm", {"GTV": mask})
    made = pydicom.dcmread(path)
    spoil(made)
    made.save_as(path)
    with pytest.raises(PatientError, match=rf"seg\.dcm: {re.escape(what)}"):
        mask_of(ct, path)


@pytest.mark.parametrize("distance", [0.45, 1.0, 2.5])
def test_frames_whose_positions_are_rounded_belong_to_the_nearest_slice(
    tmp_path, ct: Series, distance
):
    ct.origin, ct.distance = np.array([-10.03, -20.04, 30.02]), distance
    ct.instances = [ct.write(ct.slice(k), k) for k in range(6)]
    path = ct.seg(tmp_path / "seg.dcm", {"GTV": ball()})
    made = pydicom.dcmread(path)
    for frame in frames_of(made):
        place = frame.PlanePositionSequence[0]
        place.ImagePositionPatient = [round(float(v), 1) for v in place.ImagePositionPatient]
    made.save_as(path)
    np.testing.assert_array_equal(mask_of(ct, path), ball())
