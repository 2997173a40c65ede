"""Slices left out, names that look alike, and frames of reference, of contours and segments."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from hypothesis import given
from hypothesis import strategies as st

from client.check.images import check_images
from client.data.cohort import read_cohort
from client.imaging.cache import ContentCache
from client.imaging.dicom.header import SeriesIdentity
from client.imaging.dicom.masks import check_mask_header
from client.imaging.dicom.rtstruct import missing_slices
from client.imaging.errors import PatientError
from client.imaging.preparation import PatientJob, prepare
from client.imaging.reading import read_image, read_mask
from client.site import SiteSettings
from common.study.model import ImagingSettings
from tests import builders
from tests.client.imaging.dicom.conftest import Series, change

BOX = [(3.5, 2.5), (15.5, 2.5), (15.5, 12.5), (3.5, 12.5)]
NODE = [(17.5, 4.5), (21.5, 4.5), (21.5, 8.5), (17.5, 8.5)]
WORD = frozenset({"frame_of_reference"})
Maker = Callable[[Series, Path], Path]


def volume(**parts: tuple[int, ...]) -> np.ndarray:
    """Boxes at three places, each on the slices given."""
    made = np.zeros((12, 10, 30), dtype=bool)
    for name, slices in parts.items():
        left = {"first": 1, "second": 11, "third": 21}[name]
        made[list(slices), 2:8, left : left + 7] = True
    return made


@pytest.mark.parametrize(
    ("parts", "missing"),
    [
        ({"first": (2, 3, 4)}, []),
        ({"first": (2, 3, 5, 6)}, [4]),
        ({"first": (2, 3, 7, 8)}, [4, 5, 6]),
        ({"first": (2, 4, 6)}, [3, 5]),
        ({"first": (2, 3, 4, 6)}, [5]),
        ({"first": (2,)}, []),
        ({"first": (2, 3), "second": (6, 7)}, []),
        ({"first": (2, 3), "second": (3, 4, 5), "third": (5, 6)}, []),
        ({"first": (2, 3, 5, 6), "second": (3, 4, 5)}, [4]),
        ({"first": (2, 3), "second": (6, 7, 9, 10)}, [8]),
        ({}, []),
    ],
)
def test_a_part_that_goes_on_behind_a_gap_misses_slices_and_another_piece_does_not(parts, missing):
    assert missing_slices(volume(**parts)) == missing


@given(st.integers(1, 9), st.integers(0, 11), st.integers(0, 2**32 - 1))
def test_leaving_out_any_inner_slices_of_a_ball_is_noticed(radius, left_out, seed):
    z, y, x = np.indices((12, 20, 20))
    ball = ((z - 5.5) ** 2 + (y - 9.5) ** 2 + (x - 9.5) ** 2) <= radius**2
    assert missing_slices(ball) == []
    drawn = np.flatnonzero(ball.any(axis=(1, 2)))
    ball[left_out] = False
    inner = bool(drawn.size) and drawn[0] < left_out < drawn[-1]
    assert missing_slices(ball) == ([left_out] if inner else [])


def test_a_ring_that_stands_upright_misses_nothing():
    z, y, x = np.indices((12, 20, 20))
    far = np.hypot(z - 5.5, x - 9.5)
    assert missing_slices((far > 2.5) & (far < 5.5) & (abs(y - 9.5) < 3)) == []


def test_a_stray_voxel_beside_a_lesion_is_no_part_of_it():
    made = volume(first=(2, 3, 4, 5, 6, 7))
    made[2, 5, 25] = made[4, 5, 25] = True
    assert missing_slices(made) == []


def contours(ct: Series, path: Path, planes: tuple[int, ...] = (1, 2, 3)) -> Path:
    return ct.rtstruct(path, {"GTV": [ct.contour(k, BOX) for k in planes]})


def segments(ct: Series, path: Path, planes: tuple[int, ...] = (1, 2, 3)) -> Path:
    mask = np.zeros(ct.hu.shape, dtype=bool)
    mask[list(planes), 3:13, 4:16] = True
    return ct.seg(path, {"GTV": mask})


both = pytest.mark.parametrize("make", [contours, segments])


@both
def test_a_slice_left_out_is_refused_by_its_place(tmp_path: Path, ct: Series, make) -> None:
    path = make(ct, tmp_path / "m.dcm", (0, 1, 3, 4))
    with pytest.raises(PatientError, match=re.escape("skips 1 slice between others (z = 35.0 mm")):
        read_mask(path, read_image(ct.folder))


def test_two_nodes_with_slices_between_them_are_read(tmp_path: Path, ct: Series) -> None:
    drawn = [*(ct.contour(k, BOX) for k in (0, 1)), *(ct.contour(k, NODE) for k in (4, 5))]
    path = ct.rtstruct(tmp_path / "rt.dcm", {"GTV": drawn})
    found = sitk.GetArrayFromImage(read_mask(path, read_image(ct.folder)))
    assert found.any(axis=(1, 2)).tolist() == [True, True, False, False, True, True]


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("GTV\u00a01", "GTV 1"),
        ("GTV\u200b", "GTV"),
        ("GTV", "\ufeffGTV"),
        ("Le\u0301sion", "L\u00e9sion"),
        ("GTV", " GTV\u00a0"),
    ],
)
def test_a_name_is_found_as_it_is_seen(tmp_path: Path, ct: Series, stored, asked) -> None:
    rois = {stored: [ct.contour(k, BOX) for k in (1, 2)], "x": [ct.contour(2, NODE)]}
    ct.rtstruct(tmp_path / "rt.dcm", rois)
    made = pydicom.dcmread(tmp_path / "rt.dcm")
    made.SpecificCharacterSet = "ISO_IR 192"
    made.StructureSetROISequence[0].ROIName = stored
    made.save_as(tmp_path / "rt.dcm")
    found = read_mask(tmp_path / f"rt.dcm#{asked}", read_image(ct.folder))
    assert sitk.GetArrayFromImage(found).sum() == 2 * 120


@both
def test_a_name_that_is_not_there_is_told_with_what_differs(tmp_path, ct, make) -> None:
    make(ct, tmp_path / "m.dcm")
    with pytest.raises(PatientError, match="differ only in upper and lower case"):
        read_mask(tmp_path / "m.dcm#gtv", read_image(ct.folder))
    with pytest.raises(PatientError, match=r"\(U\+0422 CYRILLIC CAPITAL LETTER TE\)"):
        read_mask(tmp_path / "m.dcm#G\u0422V", read_image(ct.folder))


def other_frame_in_contours(ct: Series, path: Path) -> Path:
    made = pydicom.dcmread(contours(ct, path))
    made.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "1.2.3"
    made.save_as(path)
    return path


def other_frame_of_the_listed_series(ct: Series, path: Path) -> Path:
    made = pydicom.dcmread(contours(ct, path))
    made.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "1.2.3"
    made.save_as(path)
    return path


def no_frame_in_contours(ct: Series, path: Path) -> Path:
    made = pydicom.dcmread(contours(ct, path))
    del made.StructureSetROISequence[0].ReferencedFrameOfReferenceUID
    del made.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID
    made.save_as(path)
    return path


def no_frame_in_the_series(ct: Series, path: Path) -> Path:
    contours(ct, path)
    for k in range(6):
        ct.change(k, FrameOfReferenceUID=None)
    return path


def other_frame_in_segments(ct: Series, path: Path) -> Path:
    made = pydicom.dcmread(segments(ct, path))
    change(made, {"FrameOfReferenceUID": "1.2.3"})
    made.save_as(path)
    return path


strange = pytest.mark.parametrize(
    ("make", "what"),
    [
        (other_frame_in_contours, "the contours are in another frame of reference than the series"),
        (other_frame_of_the_listed_series, "in another frame of reference than the series"),
        (no_frame_in_contours, "nothing says which frame of reference the contours are in"),
        (no_frame_in_the_series, "the series has no frame of reference, while"),
        (other_frame_in_segments, "the segments are in another frame of reference"),
    ],
)


@strange
def test_another_frame_is_refused_by_its_header_until_it_is_confirmed(
    tmp_path: Path, ct: Series, make: Maker, what: str
) -> None:
    path = make(ct, tmp_path / "m.dcm")
    image = read_image(ct.folder)
    identity = SeriesIdentity.of(image, "")
    for refused in (
        lambda: read_mask(path, image),
        lambda: check_mask_header(path, identity, None),
    ):
        with pytest.raises(PatientError, match=rf"{what} .* write frame_of_reference into "):
            refused()
    check_mask_header(path, identity, None, confirmed=WORD)
    found = sitk.GetArrayFromImage(read_mask(path, image, confirmed=WORD))
    assert found.sum() == 3 * 120 and found[1:4, 3:13, 4:16].all()


@both
def test_a_confirmation_lets_no_other_fault_pass(tmp_path, ct, make_series, make) -> None:
    other = make_series(tmp_path / "other")
    path = make(other, tmp_path / "m.dcm")
    image = read_image(ct.folder)
    with pytest.raises(PatientError, match="another series"):
        read_mask(path, image, confirmed=WORD)
    with pytest.raises(PatientError, match="another series"):
        check_mask_header(path, SeriesIdentity.of(image, ""), None, confirmed=WORD)


def test_a_confirmed_contour_must_still_lie_on_the_slices(tmp_path, ct) -> None:
    path = other_frame_in_contours(ct, tmp_path / "rt.dcm")
    made = pydicom.dcmread(path)
    for item in made.ROIContourSequence[0].ContourSequence:
        item.ContourData = [
            float(v) + (1.1 if i % 3 == 2 else 0) for i, v in enumerate(item.ContourData)
        ]
    made.save_as(path)
    with pytest.raises(PatientError, match="between slices"):
        read_mask(path, read_image(ct.folder), confirmed=WORD)


@both
def test_good_headers_pass_without_the_voxels_and_wrong_names_do_not(tmp_path, ct, make) -> None:
    path = make(ct, tmp_path / "m.dcm")
    identity = SeriesIdentity.of(read_image(ct.folder), "")
    check_mask_header(path, identity, None)
    check_mask_header(path, identity, "GTV")
    with pytest.raises(PatientError, match='no ROI "PTV" is drawn; there are "GTV"'):
        check_mask_header(path, identity, "PTV")


def spoil(field: str, value: object) -> Maker:
    def make(ct: Series, path: Path) -> Path:
        made = pydicom.dcmread(contours(ct, path))
        change(made.ROIContourSequence[0].ContourSequence[1], {field: value})
        made.save_as(path)
        return path

    return make


def twice(ct: Series, path: Path) -> Path:
    made = pydicom.dcmread(contours(ct, path))
    made.ROIContourSequence.append(made.ROIContourSequence[0])
    made.save_as(path)
    return path


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (spoil("NumberOfContourPoints", 5), "says that it has 5 points, and has 4"),
        (spoil("ContourData", [1, 2, 3, 4]), "a contour has 4 coordinates: not three finite ones"),
        (spoil("ContourData", None), "no numbers|against the standard"),
        (spoil("ContourGeometricType", "POINT"), r"is not closed \(POINT\)"),
        (spoil("ContourGeometricType", "OPEN_PLANAR"), r"is not closed \(OPEN_PLANAR\)"),
        (spoil("ContourOffsetVector", [0, 0, 5]), "is to be moved"),
        (twice, "two ROIs have the number 7"),
    ],
)
def test_a_damaged_contour_is_refused_by_its_header(tmp_path, ct, make, what) -> None:
    path = make(ct, tmp_path / "rt.dcm")
    with pytest.raises(PatientError, match=what):
        check_mask_header(path, SeriesIdentity.of(read_image(ct.folder), ""), None)


def test_the_word_of_cohort_csv_is_followed_checked_and_part_of_the_cache(tmp_path, ct) -> None:
    other_frame_in_contours(ct, tmp_path / "odd.dcm")
    contours(ct, tmp_path / "good.dcm")
    rows = ["p1,0,train,ct,odd.dcm,frame_of_reference", "p2,1,train,ct,odd.dcm,"]
    rows += ["p3,1,train,ct,good.dcm,frame_of_reference", "p4,1,train,ct,good.dcm,sure"]
    lines = ["patient_id,label,split,image,mask,confirmed", *rows]
    (tmp_path / "cohort.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    cohort = read_cohort(tmp_path, "a", builders.study(base_models=["dl3d"]))
    assert [str(problem) for problem in cohort.problems] == [
        'p4: cohort.csv row 5 column confirmed: unknown word "sure" -> write frame_of_reference '
        "where you have looked and it is right, else nothing"
    ]
    jobs = [PatientJob(p.patient_id, p.image, p.masks, p.confirmed) for p in cohort.patients]
    settings = {"imaging": ImagingSettings(crop2d_size=32, crop3d_size=24), "radiomics": None}
    settings |= {"cache": ContentCache(tmp_path / "cache"), "workers": 1, "memory_gib": 4.0}
    made = prepare(jobs, **settings)
    assert list(made.crop_keys) == ["p1", "p3"]
    # p2 has the files of p1: what was made on p1's word is not used without it
    assert [problem.patient_id for problem in made.problems] == ["p2"]
    assert list(prepare(jobs[1:2], **settings).crop_keys) == []
    found = check_images(cohort.patients, SiteSettings(name="a", workers=1), None).findings
    said = {f.where: f.what for f in found if f.kind == "mask.confirmed"}
    assert "another frame of reference" in said["p1"] and "nothing to confirm" in said["p3"]
    assert [f.where for f in found if f.kind == "mask.unusable"] == ["p2: odd.dcm"]
