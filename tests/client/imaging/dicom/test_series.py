from __future__ import annotations

import re
from contextlib import suppress

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from pydicom.uid import EnhancedCTImageStorage, PositronEmissionTomographyImageStorage, generate_uid

from client.imaging.dicom.folder import read_file
from client.imaging.geometry import stored_axes
from client.imaging.reading import PatientError, read_image

ORIENTATIONS = {
    "axial": (1, 0, 0, 0, 1, 0),
    "feet first": (-1, 0, 0, 0, 1, 0),
    "coronal": (1, 0, 0, 0, 0, -1),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "oblique": (0.96, 0.28, 0, -0.28, 0.96, 0),
}


def test_reads_one_series_in_hu_in_the_order_of_its_positions(ct):
    (ct.folder / "notes.txt").write_text("not a slice")
    image = read_image(ct.folder)
    assert image.GetPixelID() == sitk.sitkFloat32
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), ct.hu)
    np.testing.assert_allclose(image.GetSpacing(), (0.8, 0.9, 2.5))
    np.testing.assert_allclose(image.GetOrigin(), (-10, -20, 30))


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_a_voxel_lies_where_the_standard_says_whatever_way_the_series_is_turned(
    tmp_path, make_series, name
):
    ct = make_series(tmp_path / "ct", ORIENTATIONS[name])
    image = read_image(ct.folder)
    image = stored_axes(image).undo().apply(image)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), ct.hu)
    for voxel in [(0, 0, 0), (23, 0, 0), (0, 17, 0), (5, 7, 5)]:
        place = image.TransformIndexToPhysicalPoint(voxel)
        np.testing.assert_allclose(place, ct.patient(*voxel), atol=1e-9)


@pytest.mark.parametrize(
    ("orientation", "what"),
    [
        ((1, 0, 0, 0.2588, 0.9659, 0), r"not at right angles: 15\.00 degrees off by ImageOrient"),
        ((1, 0, 0, 0.002, 1, 0), r"not at right angles: 0\.11 degrees off by ImageOrientation"),
        ((1, 0, 0, 0, 2, 0), "ImageOrientationPatient has vectors of length 1 and 2, not 1"),
        ((1, 0, 0, 1, 0, 0), "ImageOrientationPatient gives an axis without a length"),
    ],
)
def test_refuses_rows_and_columns_that_are_not_at_right_angles(ct, orientation, what):
    for k in range(6):
        ct.change(k, ImageOrientationPatient=[float(v) for v in orientation])
    with pytest.raises(PatientError, match=what):
        read_image(ct.folder)


def test_each_slice_is_read_by_its_own_rescale(ct):
    ct.change(2, RescaleSlope=0.5, RescaleIntercept=-100.25)
    found = sitk.GetArrayFromImage(read_image(ct.folder))
    np.testing.assert_array_equal(found[2], (ct.hu[2] + 1024) * 0.5 - 100.25)
    np.testing.assert_array_equal(found[3], ct.hu[3])


def test_a_file_of_the_series_stands_for_it_among_others(ct):
    other = generate_uid()
    for k in range(3):
        ct.write(ct.folder / f"thin{k}", k, SeriesInstanceUID=other)
    with pytest.raises(PatientError, match=r"2 CT series in one folder -> .* or name one of its"):
        read_image(ct.folder)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(ct.slice(4))), ct.hu)
    assert read_image(ct.folder / "thin0").GetSize() == (24, 18, 3)


def test_other_objects_and_localizers_in_the_folder_are_passed_over(ct):
    pet = PositronEmissionTomographyImageStorage
    ct.write(ct.folder / "pet.dcm", 0, SeriesInstanceUID=generate_uid(), SOPClassUID=pet)
    kind = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    ct.write(ct.folder / "scout.dcm", 0, SeriesInstanceUID=generate_uid(), ImageType=kind)
    assert read_image(ct.folder).GetSize() == (24, 18, 6)


def test_refuses_a_folder_without_ct_and_says_what_is_in_it(tmp_path, ct):
    for k in range(6):
        ct.change(k, SOPClassUID=EnhancedCTImageStorage)
    with pytest.raises(PatientError, match=r"no CT series in the folder \(6 x Enhanced CT Image"):
        read_image(ct.folder)
    with pytest.raises(PatientError, match="not a CT slice but Enhanced CT Image Storage"):
        read_image(ct.slice(0))
    with pytest.raises(PatientError, match="not a CT slice but an object of unknown kind"):
        ct.change(0, SOPClassUID="1.2.3.4")
        read_image(ct.slice(0))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("nothing")
    with pytest.raises(PatientError, match=r"no CT series in the folder \(no DICOM files\)"):
        read_image(tmp_path / "empty")


def test_refuses_a_missing_slice(ct):
    ct.slice(3).unlink()
    with pytest.raises(PatientError, match=r"missing or unevenly spaced slices: 5\.00 mm before"):
        read_image(ct.folder)


def test_refuses_unevenly_spaced_slices(ct):
    ct.write(ct.slice(5), 5.3)
    with pytest.raises(
        PatientError, match=r"unevenly spaced slices: 3\.25 mm before 1\.dcm, 2\.50"
    ):
        read_image(ct.folder)


def test_refuses_a_copy_of_a_slice_and_names_both_files(ct):
    (ct.folder / "3 (1).dcm").write_bytes(ct.slice(3).read_bytes())
    with pytest.raises(
        PatientError, match=r"two files of the same slice \(3 \(1\)\.dcm and 3\.dcm"
    ):
        read_image(ct.folder)


def test_refuses_two_slices_that_a_tool_gave_the_same_uid(ct):
    ct.change(3, SOPInstanceUID=ct.instances[1])
    with pytest.raises(PatientError, match=r"the same SOP Instance UID \(3\.dcm and 5\.dcm\)"):
        read_image(ct.folder)


@pytest.mark.parametrize("tag", ["StudyInstanceUID", "PatientID"])
def test_refuses_scans_that_a_tool_gave_the_same_series_uid(ct, tag):
    for k in range(3, 6):
        ct.change(k, **{tag: "1.2.3"})
    with pytest.raises(PatientError, match=r"slices of several .* under one series UID"):
        read_image(ct.folder)


def test_refuses_another_slice_at_the_same_place(ct):
    ct.write(ct.folder / "again.dcm", 3)
    with pytest.raises(PatientError, match="two slices at the same place"):
        read_image(ct.folder)


def test_refuses_a_single_slice(ct):
    for k in range(1, 6):
        ct.slice(k).unlink()
    with pytest.raises(PatientError, match="the series has one slice only"):
        read_image(ct.folder)


def test_refuses_a_tilted_gantry(ct):
    for k in range(6):
        x, y, z = ct.patient(0, 0, k)
        ct.change(k, ImagePositionPatient=[x, y + 0.6 * k, z])
    with pytest.raises(PatientError, match=r"shifted .* by up to 3\.0 mm \(gantry tilt\)"):
        read_image(ct.folder)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"RescaleSlope": None}, "0.dcm: a CT slice has no RescaleSlope"),
        ({"RescaleIntercept": None}, "0.dcm: a CT slice has no RescaleIntercept"),
        ({"ImagePositionPatient": None}, "0.dcm: a CT slice has no ImagePositionPatient"),
        ({"RescaleType": "US"}, "0.dcm: the voxels are not in HU"),
        ({"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]}, "ct: the slices are not parallel"),
        ({"PixelSpacing": [0.9, 0.7]}, "ct: slices of different size or pixel spacing"),
        ({"FrameOfReferenceUID": "1.2.3"}, "ct: slices of different frames of reference"),
    ],
)
def test_refuses_slices_that_lack_something_or_do_not_go_together(ct, changes, what):
    ct.change(0, **changes)
    with pytest.raises(PatientError, match=re.escape(what)):
        read_image(ct.folder)


@pytest.mark.parametrize("left", [0, 60, 140, 200, 300, 400, 700, 1000])
def test_a_slice_cut_short_is_refused_and_never_passed_over(ct, left):
    last = ct.slice(5)  # without it the series would look whole
    last.write_bytes(last.read_bytes()[:left])
    with pytest.raises(PatientError, match=rf"^{last.name}: "):
        read_image(ct.folder)


def test_a_slice_cut_anywhere_is_refused_or_belongs_to_its_own_series(ct):
    whole, series = ct.slice(5).read_bytes(), read_file(ct.slice(5)).series
    for left in range(len(whole) - ct.hu[0].size * 2):
        ct.slice(5).write_bytes(whole[:left])
        with suppress(PatientError):
            assert read_file(ct.slice(5)).series == series, left


def test_pixels_cut_short_are_refused(ct):
    ct.slice(5).write_bytes(ct.slice(5).read_bytes()[:-30])
    with pytest.raises(PatientError, match=r"1\.dcm: 834 bytes of pixels where .* ask for 864"):
        read_image(ct.folder)


def test_no_message_quotes_what_a_header_says_of_the_patient(ct, recwarn):
    raw = ct.slice(0).read_bytes().replace(b"0.9\\0.8 ", b"SECRET-X")
    ct.slice(0).write_bytes(raw)
    with pytest.raises(PatientError) as caught:
        read_image(ct.folder)
    assert "SECRET" not in str(caught.value) + "".join(str(w.message) for w in recwarn)
    assert caught.value.where == "0.dcm"
