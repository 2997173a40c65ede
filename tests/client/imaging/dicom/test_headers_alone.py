"""A series is judged by its headers before a pixel is decoded."""

from __future__ import annotations

import pytest

from client.imaging.dicom.series import check_series_headers, read_series
from client.imaging.errors import PatientError
from client.imaging.first_look import first_look


def test_the_headers_alone_name_the_same_series(ct):
    _, identity = read_series(ct.folder)
    assert check_series_headers(ct.folder) == identity
    assert check_series_headers(next(ct.folder.iterdir())) == identity


def test_a_missing_slice_is_found_before_a_pixel_is_decoded(ct, monkeypatch):
    monkeypatch.setattr("client.imaging.dicom.series.read_hu", lambda *_: pytest.fail("pixels"))
    sorted(ct.folder.iterdir())[2].unlink()
    with pytest.raises(PatientError, match="missing or unevenly spaced slices"):
        check_series_headers(ct.folder)
    (found,) = first_look(ct.folder, {})
    assert (found.kind, found.file) == ("image", ct.folder.name)


def test_a_damaged_contour_file_is_found_by_its_header(ct, tmp_path):
    (tmp_path / "contours.dcm").write_bytes(b"no DICOM")
    (found,) = first_look(ct.folder, {"r1": tmp_path / "contours.dcm"})
    assert (found.kind, found.file) == ("mask", "contours.dcm")
