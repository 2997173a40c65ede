from __future__ import annotations

import re

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, RTDoseStorage, generate_uid

from client.imaging.geometry import stored_axes
from client.imaging.reading import PatientError, read_image, read_mask

OUTER = [(3.5, 2.5), (15.5, 2.5), (15.5, 12.5), (3.5, 12.5)]
HOLE = [(6.5, 5.5), (10.5, 5.5), (10.5, 8.5), (6.5, 8.5)]
SMALL = [(17.5, 4.5), (20.5, 4.5), (20.5, 7.5), (17.5, 7.5)]


def ring() -> np.ndarray:
    expected = np.zeros((6, 18, 24), dtype=np.uint8)
    expected[1:4, 3:13, 4:16] = 1
    expected[2, 6:9, 7:11] = 0
    return expected


def contours(ct, planes=(1, 2, 3), corners=OUTER, **changes) -> list[Dataset]:
    return [ct.contour(k, corners, **changes) for k in planes]


def mask_of(ct, path) -> np.ndarray:
    """The mask in the order of the slices that it was drawn on."""
    image = read_image(ct.folder)
    mask = stored_axes(image).undo().apply(read_mask(path, image))
    return sitk.GetArrayFromImage(mask)


@pytest.mark.parametrize(
    "orientation",
    [
        (1, 0, 0, 0, 1, 0),
        (-1, 0, 0, 0, 1, 0),
        (1, 0, 0, 0, 0, -1),
        (0, 1, 0, 0, 0, -1),
        (0.96, 0.28, 0, -0.28, 0.96, 0),
    ],
)
def test_contours_with_a_hole_land_where_they_were_drawn_whatever_way_the_series_is_turned(
    tmp_path, make_series, orientation
):
    ct = make_series(tmp_path / "ct", orientation)
    drawn = [*contours(ct), ct.contour(2, HOLE)]
    path = ct.rtstruct(tmp_path / "rt.dcm", {"GTV": drawn})
    np.testing.assert_array_equal(mask_of(ct, path), ring())


def test_the_mask_has_the_geometry_of_the_image(tmp_path, ct):
    image = read_image(ct.folder)
    mask = read_mask(ct.rtstruct(tmp_path / "rt.dcm", {"GTV": contours(ct)}), image)
    assert mask.GetPixelID() == sitk.sitkUInt8
    assert mask.GetOrigin() == image.GetOrigin() and mask.GetSpacing() == image.GetSpacing()
    assert mask.GetDirection() == image.GetDirection()


def test_the_roi_is_chosen_by_its_name(tmp_path, ct):
    rois = {"GTV Mass": contours(ct), "node/left ": contours(ct, (4,), SMALL), "empty": []}
    path = ct.rtstruct(tmp_path / "rt.dcm", rois)
    whole = np.zeros_like(ring())
    whole[1:4, 3:13, 4:16] = 1
    np.testing.assert_array_equal(mask_of(ct, tmp_path / "rt.dcm#GTV Mass"), whole)
    assert mask_of(ct, tmp_path / "rt.dcm#node/left").sum() == 9
    for name, what in {
        "": 'rt.dcm: 2 ROIs in one file ("GTV Mass", "node/left") -> name the one that is meant '
        "in cohort.csv: rt.dcm#NAME",
        "#GTV": 'no ROI "GTV" is drawn; there are "GTV Mass", "node/left" -> correct the name',
        "#empty": 'no ROI "empty" is drawn; there are "GTV Mass", "node/left"',
    }.items():
        with pytest.raises(PatientError, match=re.escape(what)):
            mask_of(ct, path.with_name(path.name + name))


def test_a_name_borne_by_two_rois_and_a_file_without_any_are_refused(tmp_path, ct):
    path = ct.rtstruct(
        tmp_path / "rt.dcm", {"GTV": contours(ct), "GTV ": contours(ct, (4,), SMALL)}
    )
    with pytest.raises(PatientError, match='2 ROIs are called "GTV"'):
        mask_of(ct, tmp_path / "rt.dcm#GTV")
    with pytest.raises(PatientError, match=r"rt\.dcm: no ROI in the file"):
        mask_of(ct, ct.rtstruct(path, {"GTV": []}))


@pytest.mark.parametrize(
    ("drawn", "what"),
    [
        ({"k": 2.5}, "the contour at (4.0, -15.9, 36.2) mm lies between slices or across them"),
        ({"k": 6}, "reaches beyond the image"),
        ({"corners": [(20.0, 3.0), (26.0, 3.0), (26.0, 8.0)]}, "reaches beyond the image"),
        ({"kind": "OPEN_PLANAR"}, "is not closed (OPEN_PLANAR)"),
        ({"kind": "POINT"}, "is not closed (POINT)"),
        ({"corners": [(5.3, 4.2), (7.1, 4.2)]}, "has 2 points and no inside"),
        ({"corners": [(8.5, 4.5), (20.5, 4.5), (20.5, 9.5), (8.5, 9.5)]}, "overlap in part"),
        ({"corners": OUTER}, "overlap in part"),
    ],
)
def test_refuses_a_contour_that_encloses_nothing_on_a_slice(tmp_path, ct, drawn, what):
    kind = drawn.get("kind", "CLOSED_PLANAR")
    item = ct.contour(drawn.get("k", 2), drawn.get("corners", SMALL), ContourGeometricType=kind)
    path = ct.rtstruct(tmp_path / "rt.dcm", {"GTV": [*contours(ct), item]})
    with pytest.raises(PatientError, match=re.escape(what)):
        mask_of(ct, path)


def test_contours_declared_exclusive_may_overlap_in_part(tmp_path, ct):
    other = [(8.5, 4.5), (20.5, 4.5), (20.5, 9.5), (8.5, 9.5)]
    kind = {"ContourGeometricType": "CLOSEDPLANAR_XOR"}
    drawn = [*contours(ct, **kind), ct.contour(2, other, **kind)]
    found = mask_of(ct, ct.rtstruct(tmp_path / "rt.dcm", {"GTV": drawn}))
    assert not found[2, 5:10, 9:16].any() and found[2, 5:10, 16:21].all() and found[2, 5, 4:9].all()


def test_refuses_a_contour_across_the_slices(tmp_path, ct):
    item = ct.contour(2, OUTER)
    item.ContourData[2] = float(item.ContourData[2]) + 4
    path = ct.rtstruct(tmp_path / "rt.dcm", {"GTV": [item]})
    with pytest.raises(PatientError, match="between slices or across them"):
        mask_of(ct, path)


def test_refuses_an_roi_drawn_on_every_second_slice(tmp_path, ct):
    path = ct.rtstruct(tmp_path / "rt.dcm", {"GTV": contours(ct, (1, 3, 5))})
    with pytest.raises(PatientError, match=r"skips 2 slices .*\(z = 35.0, z = 40.0 mm\)"):
        mask_of(ct, path)


def test_a_contour_rounded_to_a_tenth_of_a_millimetre_stays_on_its_slice(tmp_path, ct):
    drawn = contours(ct)
    for item in drawn:
        item.ContourData = [round(float(v) + 0.02, 1) for v in item.ContourData]
    path = ct.rtstruct(tmp_path / "rt.dcm", {"GTV": drawn})
    assert mask_of(ct, path).sum() == 3 * 120


def test_refuses_contours_of_another_series(tmp_path, ct, make_series):
    other = make_series(tmp_path / "other")
    path = other.rtstruct(tmp_path / "rt.dcm", {"GTV": contours(other)})
    with pytest.raises(PatientError, match=r"rt\.dcm: the contours were drawn on another series"):
        mask_of(ct, path)


def test_refuses_contours_of_another_series_that_the_file_names_too(tmp_path, ct, make_series):
    other = make_series(tmp_path / "other")
    listed, study = Dataset(), Dataset()
    path = ct.rtstruct(tmp_path / "rt.dcm", {"GTV": contours(other)})
    made = pydicom.dcmread(path)
    listed.SeriesInstanceUID, listed.ContourImageSequence = other.series, []
    for uid in other.instances:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, uid
        listed.ContourImageSequence.append(item)
    study.RTReferencedSeriesSequence = [listed]
    made.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence.append(study)
    made.save_as(path)
    with pytest.raises(PatientError, match=r"the contour at .* was drawn on another series"):
        mask_of(ct, path)


def test_refuses_another_frame_of_reference(tmp_path, ct):
    path = ct.rtstruct(tmp_path / "rt.dcm", {"GTV": contours(ct)})
    for k in range(6):
        ct.change(k, FrameOfReferenceUID="1.2.3")
    with pytest.raises(PatientError, match=r"another frame of reference .* de-identify both"):
        mask_of(ct, path)


def test_slices_named_by_the_contours_do_where_the_file_names_no_series(tmp_path, ct):
    rois = {"GTV": contours(ct)}
    path = ct.rtstruct(tmp_path / "rt.dcm", rois, SeriesInstanceUID="1.2.3")
    with pytest.raises(PatientError, match="another series"):
        mask_of(ct, path)
    made = pydicom.dcmread(path)
    del made.ReferencedFrameOfReferenceSequence
    made.save_as(path)
    assert mask_of(ct, path).sum() == 3 * 120
    for item in made.ROIContourSequence[0].ContourSequence:
        item.ContourImageSequence[0].ReferencedSOPInstanceUID = generate_uid()
    made.save_as(path)
    with pytest.raises(PatientError, match="was drawn on another series"):
        mask_of(ct, path)
    for item in made.ROIContourSequence[0].ContourSequence:
        del item.ContourImageSequence
    made.save_as(path)
    with pytest.raises(PatientError, match="do not say which series they were drawn on"):
        mask_of(ct, path)


def test_a_series_whose_slices_were_renamed_is_known_by_its_own_uid(tmp_path, ct):
    path = ct.rtstruct(tmp_path / "rt.dcm", {"GTV": contours(ct)})
    for k in range(6):
        ct.change(k, SOPInstanceUID=generate_uid())
    assert mask_of(ct, path).sum() == 3 * 120


def test_refuses_a_contour_that_names_another_slice_than_it_lies_on(tmp_path, ct):
    drawn = contours(ct)
    drawn[0].ContourImageSequence[0].ReferencedSOPInstanceUID = ct.instances[4]
    with pytest.raises(PatientError, match="names another slice than it lies on"):
        mask_of(ct, ct.rtstruct(tmp_path / "rt.dcm", {"GTV": drawn}))


def test_refuses_contour_data_cut_short(tmp_path, ct):
    drawn = contours(ct, NumberOfContourPoints=5)
    with pytest.raises(PatientError, match=r"rt\.dcm: .* says that it has 5 points, and has 4"):
        mask_of(ct, ct.rtstruct(tmp_path / "rt.dcm", {"GTV": drawn}))


def test_refuses_contours_beside_an_image_that_is_no_dicom_series(tmp_path, ct):
    path = ct.rtstruct(tmp_path / "rt.dcm", {"GTV": contours(ct)})
    image = read_image(ct.folder)
    sitk.WriteImage(image, str(tmp_path / "ct.nii.gz"))
    with pytest.raises(PatientError, match=r"the image is not the DICOM series .* give the folder"):
        read_mask(path, read_image(tmp_path / "ct.nii.gz"))


def test_refuses_files_that_are_no_masks(tmp_path, ct):
    image = read_image(ct.folder)
    with pytest.raises(PatientError, match="a folder instead of a mask"):
        read_mask(ct.folder, image)
    with pytest.raises(PatientError, match="not a mask but CT Image Storage"):
        read_mask(ct.slice(0), image)
    ct.write(tmp_path / "dose.dcm", 0, SOPClassUID=RTDoseStorage)
    with pytest.raises(PatientError, match="not a mask but RT Dose Storage"):
        read_mask(tmp_path / "dose.dcm", image)
    (tmp_path / "text.dcm").write_text("GTV")
    with pytest.raises(PatientError, match=r"text\.dcm: not a DICOM file"):
        read_mask(tmp_path / "text.dcm", image)
    sitk.WriteImage(image, str(tmp_path / "mask.nii.gz"))
    with pytest.raises(PatientError, match='no DICOM, so it has no ROI "GTV"'):
        read_mask(tmp_path / "mask.nii.gz#GTV", image)
    with pytest.raises(PatientError, match="no such file"):
        read_mask(tmp_path / "none.dcm#GTV", image)


def test_no_message_holds_what_the_file_says_of_the_patient(tmp_path, ct):
    path = ct.rtstruct(tmp_path / "rt.dcm", {"GTV": contours(ct, NumberOfContourPoints=5)})
    with pytest.raises(PatientError) as caught:
        mask_of(ct, path)
    assert "ecret" not in str(caught.value).lower()


@pytest.mark.parametrize(
    ("corners", "what"),
    [
        ([(3.5, 2.5), (15.5, 12.5), (15.5, 2.5), (3.5, 12.5)], "49% of it lies in loops"),
        ([*OUTER, *OUTER], "100% of it lies in loops"),
    ],
)
def test_refuses_a_contour_that_crosses_itself_and_says_where(tmp_path, ct, corners, what):
    path = ct.rtstruct(tmp_path / "rt.dcm", {"GTV": [*contours(ct), ct.contour(4, corners)]})
    said = (
        rf"the contour at \(-7\.2, -17\.8, 40\.0\) mm crosses itself: {what}, the first at \(-?\d"
    )
    with pytest.raises(PatientError, match=said):
        mask_of(ct, path)


def test_a_loop_of_an_unsteady_hand_is_no_crossing(tmp_path, ct):
    loop = [(15.5, 6.5), (16.1, 7.5), (16.1, 6.5), (15.5, 7.5)]
    drawn = [*OUTER[:2], *loop, *OUTER[2:]]
    path = ct.rtstruct(tmp_path / "rt.dcm", {"GTV": contours(ct, corners=drawn)})
    assert mask_of(ct, path).sum() in range(3 * 118, 3 * 122)


def test_refuses_a_contour_that_does_not_say_whether_it_is_closed(tmp_path, ct):
    item = ct.contour(2, OUTER, ContourGeometricType=None)
    path = ct.rtstruct(tmp_path / "rt.dcm", {"GTV": [item]})
    with pytest.raises(PatientError, match="does not say whether it is closed"):
        mask_of(ct, path)
