"""Findings about a DICOM series: unread files, missing slices, unusable files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from client.check.finding import Finding
from client.check.images import check_images
from client.data.cohort import Patient
from client.site import SiteSettings
from tests.client.imaging.dicom.conftest import Series

SETTINGS = SiteSettings(name="north", workers=1)


@pytest.fixture
def ct(tmp_path: Path) -> Series:
    """A series with air, fat and soft tissue, numbered from 1."""
    made = Series(tmp_path / "ct")
    made.hu = np.random.default_rng(1).integers(-900, 300, made.hu.shape)
    made.instances = [made.write(made.slice(k), k, InstanceNumber=k + 1) for k in range(6)]
    return made


def rows(ct: Series) -> list[Finding]:
    """Findings about the image, a good one's aside."""
    patient = Patient("p1", "north", 0, "train", 0, {}, ct.folder, {})
    found = check_images([patient], SETTINGS, None).findings
    return [f for f in found if f.kind.startswith("image") and f.where]


def test_nothing_is_said_of_a_series_alone_in_its_folder(ct: Series) -> None:
    assert rows(ct) == []


def test_what_is_passed_over_is_counted_without_a_warning(ct: Series) -> None:
    (ct.folder / "notes.txt").write_text("x")
    (ct.folder / "DICOMDIR").write_bytes(b"")
    ct.rtstruct(ct.folder / "rt.dcm", {})
    (row,) = rows(ct)
    assert (row.kind, row.severity, row.where) == ("image.passed_over", "ok", "p1")
    assert row.what == ("passed over: 1 x .txt file, 1 x RT Structure Set Storage, 1 x system file")


def test_what_could_hold_slices_is_a_warning(ct: Series) -> None:
    (ct.folder / "rest.zip").write_bytes(b"PK\3\4" + bytes(50))
    Series(ct.folder / "before")
    (row,) = rows(ct)
    assert (row.kind, row.severity) == ("image.passed_over", "warning")
    assert "6 x CT slice of another series in a sub-folder, 1 x archive (.zip)" in row.what


def test_a_series_that_ends_too_early_by_its_numbers_is_a_warning(ct: Series) -> None:
    for k in range(2):
        ct.slice(k).unlink()
    (row,) = rows(ct)
    assert (row.kind, row.severity) == ("image.complete", "warning")
    assert row.what == "slices may be missing: instance numbers begin above 1"


def test_two_scans_in_one_series_are_a_warning_that_names_what_differs(ct: Series) -> None:
    for k in (3, 4, 5):
        ct.change(k, ConvolutionKernel="B70f", SliceThickness=5)
    (row,) = rows(ct)
    assert (row.kind, row.severity) == ("image.complete", "warning")
    assert row.what == (
        "slices of one series differ in ConvolutionKernel (2 values), SliceThickness (2 values)"
    )


def in_turn(ct: Series) -> None:
    for k in (1, 3, 5):
        ct.change(k, AcquisitionNumber=2)


def other_intercept(ct: Series) -> None:
    ct.change(2, RescaleIntercept=1500)


def bright_padding(ct: Series) -> None:
    made = pydicom.dcmread(ct.slice(2))
    made.add_new("PixelPaddingValue", "US", 63536)
    made.PixelData = b"\x30\xf8" + made.PixelData[2:]
    made.save_as(ct.slice(2))


def changed(**changes: object) -> Callable[[Series], None]:
    return lambda ct: ct.change(2, **changes)


def empty_slice(ct: Series) -> None:
    ct.slice(5).write_bytes(b"")


def in_sub_folder(ct: Series) -> None:
    (ct.folder / "rest").mkdir()
    shutil.move(ct.slice(5), ct.folder / "rest")


def beyond_the_bits(ct: Series) -> None:
    made = pydicom.dcmread(ct.slice(2))
    made.BitsStored, made.HighBit = 10, 9
    made.save_as(ct.slice(2))


def decimal_comma(ct: Series) -> None:
    data = ct.slice(2).read_bytes()
    assert b"0.9\\0.8 " in data
    ct.slice(2).write_bytes(data.replace(b"0.9\\0.8 ", b"0,9\\0,8 "))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (empty_slice, "an empty file: it could be a slice"),
        (in_sub_folder, "slices of the series lie in sub-folders (1 x rest)"),
        (beyond_the_bits, "bits above the 10 that Bits Stored allows"),
        (in_turn, "slices alternate between 2 values of AcquisitionNumber"),
        (other_intercept, "HU jump by"),
        (bright_padding, "1 voxels hold the Pixel Padding Value, which comes out at 62512 HU"),
        (decimal_comma, "PixelSpacing is not a number: it has a decimal comma"),
        (changed(RescaleSlope=0), "Rescale Slope is 0"),
        (changed(HighBit=11), "contradict each other"),
        (changed(PhotometricInterpretation="RGB"), "neither MONOCHROME1 nor MONOCHROME2"),
        (changed(NumberOfFrames=3), "a multi-frame image (3 frames in one file)"),
        (changed(ImageOrientationPatient=[1, 0, 0, 0.28, 0.96, 0]), "at right angles"),
    ],
)
def test_each_fault_of_pixels_and_files_is_a_problem_of_the_patient(
    ct: Series, spoil: Callable[[Series], None], words: str
) -> None:
    spoil(ct)
    (row,) = rows(ct)
    assert (row.kind, row.severity) == ("image.unusable", "problem")
    assert row.where.startswith("p1: ")
    assert words in row.what
    assert row.remedy


def test_slices_that_were_compressed_with_loss_are_a_warning(ct: Series) -> None:
    for k in (1, 2):
        ct.write(ct.slice(k), k, InstanceNumber=k + 1, LossyImageCompression="01")
    (row,) = rows(ct)
    assert (row.kind, row.severity) == ("image.units", "warning")
    assert row.what.startswith("2 slices were compressed with loss")
