"""Whatever lies with a series is read, refused, or counted: nothing is left out in silence."""

from __future__ import annotations

import gzip
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from client.imaging.cache import ContentCache
from client.imaging.dicom.series import check_series_headers, survey_series
from client.imaging.reading import PatientError, read_image
from client.imaging.source import image_files
from tests.client.imaging.dicom.conftest import Series


def passed_over(ct: Series) -> dict[str, int]:
    return dict(survey_series(ct.folder).passed_over)


def without_preamble(path: Path, kind: str = "file meta") -> None:
    """Strip the preamble of PS3.10 from a file, as some archives do."""
    if kind == "file meta":
        path.write_bytes(path.read_bytes()[132:])
        return
    made = pydicom.dcmread(path)
    implicit, little = {"implicit": (True, True), "explicit": (False, True), "big": (False, False)}[
        kind
    ]
    if kind == "big":
        made.PixelData = np.frombuffer(made.PixelData, "<u2").astype(">u2").tobytes()
    with path.open("wb") as file:
        pydicom.dcmwrite(file, plain(made), implicit_vr=implicit, little_endian=little)
    assert path.read_bytes()[128:132] != b"DICM"


def plain(made: pydicom.Dataset) -> pydicom.Dataset:
    bare = pydicom.Dataset()
    bare.update(made)
    return bare


@pytest.mark.parametrize("kind", ["file meta", "implicit", "explicit", "big"])
@pytest.mark.parametrize("name", ["{}", "{}.dcm", "{}.bin"])
def test_slices_without_preamble_are_read_under_any_name(ct, kind, name):
    for k in (0, 2, 5):
        without_preamble(ct.slice(k), kind)
        ct.slice(k).rename(ct.folder / name.format(f"IM{k}"))
    assert passed_over(ct) == {}
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(ct.folder)), ct.hu)


def test_a_slice_without_preamble_can_stand_for_its_series(ct):
    without_preamble(ct.slice(2))
    ct.slice(2).rename(ct.folder / "IM2")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(ct.folder / "IM2")), ct.hu)
    assert image_files(ct.folder / "IM2") == [ct.folder, ct.folder / "IM2"]


def test_a_slice_without_preamble_that_was_cut_short_is_refused(ct):
    ct.slice(5).write_bytes(ct.slice(5).read_bytes()[132:-200])
    ct.slice(5).rename(ct.folder / "IM5")
    with pytest.raises(PatientError, match=r"^IM5: .* bytes of pixels where"):
        read_image(ct.folder)


COULD_BE = ["6.dcm", "IM0006", "7.DCM", "1.2.840.113.77", "x.dcm.part", ".6.dcm.Xk3d", "y.IMA"]
COULD_NOT = ["notes.txt", "preview.jpg", "Thumbs.db", ".DS_Store", "DICOMDIR", ".complete"]


@pytest.mark.parametrize("name", COULD_BE)
def test_an_empty_file_that_could_be_a_slice_is_refused(ct, name):
    (ct.folder / name).touch()
    with pytest.raises(PatientError, match=f"^{re.escape(name)}: an empty file: it could be"):
        read_image(ct.folder)


@pytest.mark.parametrize("name", COULD_BE)
def test_zeros_of_a_broken_copy_that_could_be_a_slice_are_refused(ct, name):
    (ct.folder / name).write_bytes(bytes(5000))
    with pytest.raises(PatientError, match=rf"^{re.escape(name)}: not a DICOM file"):
        read_image(ct.folder)


@pytest.mark.parametrize("name", COULD_NOT)
@pytest.mark.parametrize("content", [b"", b"\x89\0\1binary\xff" * 90])
def test_a_file_that_is_no_slice_is_passed_over_and_counted(ct, name, content):
    (ct.folder / name).write_bytes(content)
    assert sum(passed_over(ct).values()) == 1
    assert read_image(ct.folder).GetSize() == (24, 18, 6)


@pytest.mark.parametrize("text", [b"read me\r\n", "Größe\n".encode("latin-1"), b"\xff\xfea\0b\0"])
@pytest.mark.parametrize("slices", ["{}.dcm", "IM{}"])
def test_text_is_passed_over_whatever_the_slices_are_called(ct, text, slices):
    for k in range(6):
        ct.slice(k).rename(ct.folder / slices.format(f"x{k}"))
    (ct.folder / "README").write_bytes(text)
    assert passed_over(ct) == {"text file": 1}


@pytest.mark.parametrize("name", ["6.dcm", "IM0006", "6", "1.2.840.6"])
def test_a_page_saved_as_a_slice_is_refused(ct, name):
    (ct.folder / name).write_text("<html>session expired</html>")
    with pytest.raises(PatientError, match=rf"^{re.escape(name)}: not a DICOM file"):
        read_image(ct.folder)


def test_an_ending_that_the_slices_have_makes_a_file_one_of_them(ct):
    for k in range(6):
        ct.slice(k).rename(ct.slice(k).with_suffix(".img"))
    assert read_image(ct.folder).GetSize() == (24, 18, 6)
    for content, what in ((b"", "an empty file"), (b"version 1\n", "not a DICOM file")):
        (ct.folder / "7.img").write_bytes(content)
        with pytest.raises(PatientError, match=rf"^7\.img: {what}"):
            read_image(ct.folder)


def test_a_resource_fork_is_no_slice(ct):
    (ct.folder / "._0.dcm").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X" + bytes(99))
    assert passed_over(ct) == {"system file": 1}


def test_a_packed_slice_is_refused_and_another_archive_worth_a_look(ct):
    (ct.folder / "all.zip").write_bytes(b"PK\3\4" + bytes(99))
    assert passed_over(ct) == {"archive (.zip)": 1}
    for name in ("IM5.gz", "5.dcm.gz"):
        (ct.folder / name).write_bytes(gzip.compress(ct.slice(5).read_bytes()))
        with pytest.raises(PatientError, match=f"^{name}: a DICOM file compressed by gzip"):
            read_image(ct.folder)
        (ct.folder / name).unlink()


def test_a_link_that_leads_nowhere_is_refused(ct):
    (ct.folder / "6.dcm").symlink_to(ct.folder / "gone.dcm")
    with pytest.raises(PatientError, match=r"^6\.dcm: a link that leads nowhere"):
        read_image(ct.folder)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_slice_that_may_not_be_read_is_refused(ct):
    ct.slice(5).chmod(0)
    with pytest.raises(PatientError, match="a file that cannot be read"):
        read_image(ct.folder)


@pytest.mark.parametrize("moved", [(5,), (0, 1, 2)])
def test_slices_of_the_series_in_a_sub_folder_are_refused(ct, moved):
    (ct.folder / "more" / "deep").mkdir(parents=True)
    for k in moved:
        ct.slice(k).rename(ct.folder / "more" / "deep" / f"{k}")
    what = rf"^ct: slices of the series lie in sub-folders \({len(moved)} x more\)"
    for path in (ct.folder, ct.slice(4)):
        with pytest.raises(PatientError, match=what):
            read_image(path)


def test_a_folder_above_the_series_says_where_it_is(ct):
    with pytest.raises(PatientError, match=r"6 x CT Image Storage in the sub-folder ct"):
        read_image(ct.folder.parent)


def test_other_things_in_a_sub_folder_are_counted(ct, make_series):
    (ct.folder / "rt").mkdir()
    ct.rtstruct(ct.folder / "rt" / "rt.dcm", {})
    (ct.folder / "rt" / "log.txt").write_text("exported")
    make_series(ct.folder / "other")
    assert passed_over(ct) == {
        "RT Structure Set Storage in a sub-folder": 1,
        ".txt file in a sub-folder": 1,
        "CT slice of another series in a sub-folder": 6,
    }
    assert read_image(ct.folder).GetSize() == (24, 18, 6)


def test_objects_that_are_not_slices_are_counted_by_their_kind(ct):
    ct.rtstruct(ct.folder / "rt.dcm", {})
    new, kind = generate_uid(), ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    ct.write(ct.folder / "scout", 0, SeriesInstanceUID=new, ImageType=kind)
    ct.write(ct.folder / "sc", 0, SeriesInstanceUID=new, SOPClassUID=SecondaryCaptureImageStorage)
    assert passed_over(ct) == {
        "RT Structure Set Storage": 1,
        "Secondary Capture Image Storage": 1,
        "localizer (CT Image Storage)": 1,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"SOPClassUID": SecondaryCaptureImageStorage},
        {"SOPClassUID": RTStructureSetStorage},
        {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        {"SOPClassUID": EnhancedCTImageStorage, "ImageOrientationPatient": None},
    ],
)
def test_an_object_of_the_series_that_lies_like_a_slice_is_refused(ct, changes):
    ct.change(5, **changes)  # without it the series looks whole
    with pytest.raises(PatientError, match=r"among the slices, of the same series \(1\.dcm\)"):
        read_image(ct.folder)


def test_an_overview_across_the_slices_may_be_of_their_series(ct):
    kind = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    ct.write(ct.folder / "scout", 0, ImageType=kind, ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    assert passed_over(ct) == {"localizer (CT Image Storage)": 1}


@st.composite
def litter(draw) -> tuple[str, bytes]:
    name = draw(st.sampled_from([*COULD_BE, *COULD_NOT, "README", "a.zip", "b.xml", "c.bin"]))
    start = st.sampled_from([b"", b"text\n", bytes(200), b"\x08\0\5\0CS\4\0ISO ", b"DICM" * 40])
    return name, draw(start) + draw(st.binary(max_size=40))


@given(st.lists(litter(), max_size=3, unique_by=lambda item: item[0]), st.integers(0, 5))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_series_is_read_whole_or_refused_whatever_lies_with_it(ct, files, gone):
    """Account for every file: slices, and files that are skipped."""
    for name, content in files:
        (ct.folder / name).write_bytes(content)
    try:
        survey = survey_series(ct.folder)
        assert len(survey.slices) == 6
        assert sum(survey.passed_over.values()) == len(files)
    except PatientError as error:
        assert error.where in {name for name, _ in files}
    finally:
        for name, _ in files:
            (ct.folder / name).unlink()


def test_what_newly_counts_changes_the_key_of_the_cache(ct, tmp_path):
    cache = ContentCache(tmp_path / "cache")
    keys = {cache.key_of(image_files(ct.folder), {}), cache.key_of(image_files(ct.slice(0)), {})}
    shutil.copytree(ct.folder, ct.folder / "more" / "deep")
    keys |= {cache.key_of(image_files(ct.folder), {}), cache.key_of(image_files(ct.slice(0)), {})}
    (ct.folder / "more" / "deep" / "0.dcm").write_bytes(b"other")
    keys |= {cache.key_of(image_files(ct.folder), {}), cache.key_of(image_files(ct.slice(0)), {})}
    assert len(keys) == 6


def test_headers_alone_tell_what_is_wrong_without_a_pixel(ct, monkeypatch):
    monkeypatch.setattr(
        "client.imaging.dicom.series.read_hu", lambda *_: pytest.fail("pixels were read")
    )
    identity = check_series_headers(ct.folder)
    assert identity.instances == tuple(ct.instances)
    ct.change(3, RescaleSlope=0)
    with pytest.raises(PatientError, match="Rescale Slope is 0"):
        check_series_headers(ct.folder)


def number(ct: Series, numbers: list[int | None], **changes: object) -> tuple[str, ...]:
    for k, value in enumerate(numbers):
        ct.change(k, InstanceNumber=value, **changes)
    return survey_series(ct.folder).hints


def test_headers_that_tell_of_more_slices_are_hints(ct):
    assert number(ct, [1, 2, 3, 4, 5, 6]) == ()
    assert number(ct, [5, 4, 3, 2, 1, 0]) == ()
    assert number(ct, [1, 1, 1, 1, 1, 1]) == ()
    assert number(ct, [1, 2, 3, 5, 6, 7]) == ("instance numbers leave gaps",)
    assert number(ct, [1, 3, 5, 7, 9, 11]) == ("instance numbers leave gaps",)
    assert number(ct, [4, 5, 6, 7, 8, 9]) == ("instance numbers begin above 1",)
    for k in range(6):
        ct.change(k, SpacingBetweenSlices=1.25)
    assert survey_series(ct.folder).hints[0].startswith("Spacing Between Slices is less")
    for k in range(6):
        ct.change(k, SpacingBetweenSlices=2.5)
    number_hint = "ImagesInAcquisition is larger than the number of slices"
    assert number(ct, [1, 2, 3, 4, 5, 6], ImagesInAcquisition=8) == (number_hint,)


def test_a_series_in_implicit_or_big_endian_form_is_read(ct):
    for k, syntax in enumerate([ImplicitVRLittleEndian, ExplicitVRBigEndian] * 3):
        made = pydicom.dcmread(ct.slice(k))
        if syntax == ExplicitVRBigEndian:
            made.PixelData = np.frombuffer(made.PixelData, "<u2").astype(">u2").tobytes()
        made.file_meta.TransferSyntaxUID = syntax
        pydicom.dcmwrite(
            ct.slice(k),
            made,
            implicit_vr=syntax == ImplicitVRLittleEndian,
            little_endian=syntax == ImplicitVRLittleEndian,
        )
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(ct.folder)), ct.hu)
