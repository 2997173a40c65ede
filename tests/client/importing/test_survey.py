"""An export of an archive: any nesting, any names, and nothing passed over silently."""

from __future__ import annotations

import shutil
import weakref
from pathlib import Path

import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.fileset import FileSet
from typer.testing import CliRunner

from client.cli import app
from client.imaging.dicom.folder import read_folder
from client.imaging.errors import PatientError
from client.importing import survey
from client.importing.survey import Survey, survey_export
from tests.fixtures.archive import Scan, body, ellipses, person

CONTOUR = ellipses((26, 22), 6, range(8, 13))


@pytest.fixture
def scan() -> Scan:
    return Scan(person(1), body(1))


def test_series_and_contours_are_found_in_any_nesting(tmp_path: Path, scan: Scan) -> None:
    other = Scan(person(2), body(2))
    scan.write(tmp_path / "A" / "B" / "C")
    other.write(tmp_path / "A" / "B" / "C", "CT")
    scan.rtstruct(tmp_path / "plans" / "x", {"GTV": CONTOUR, "empty": {}})
    other.seg(tmp_path / "y.seg", {"tumour": other.hu > 60})
    found = survey_export(tmp_path)
    assert set(found.series) == {scan.series, other.series}
    assert {len(one.slices) for one in found.series.values()} == {20}
    by_kind = {one.is_contours: one for one in found.contours}
    assert by_kind[True].rois == {1: "GTV"}, "an ROI without contours holds nothing"
    assert by_kind[True].series == {scan.series}
    assert by_kind[True].frames == {scan.frame}
    assert by_kind[False].rois == {1: "tumour"}
    assert by_kind[False].series == {other.series}
    assert by_kind[False].instances >= set(other.instances[:1])
    assert found.patients == {person(1).patient, person(2).patient}
    assert not found.broken and not found.others


def test_all_else_is_counted_by_kind(tmp_path: Path, scan: Scan) -> None:
    paths = scan.write(tmp_path / "ct")
    scout = pydicom.dcmread(paths[0])
    scout.ImageType, scout.SOPInstanceUID = ["ORIGINAL", "PRIMARY", "LOCALIZER"], "1.2.3"
    scout.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    scout.save_as(tmp_path / "ct" / "scout")
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.4\0\1\2")
    (tmp_path / "readme").write_text("a disc of the archive\n")
    (tmp_path / "Thumbs.db").write_bytes(b"\xd0\xcf")
    catalogue = FileSet()
    catalogue.add(paths[1])
    catalogue.write(tmp_path / "disc")
    found = survey_export(tmp_path)
    assert found.copies == 1, "the slice on the disc is the one in the folder"
    assert dict(found.others) == {
        "localizer (CT Image Storage)": 1,
        ".pdf file": 1,
        "text file": 1,
        "system file": 1,
        "Media Storage Directory Storage": 1,
    }


def damaged(tmp_path: Path, scan: Scan) -> Survey:
    paths = scan.write(tmp_path / "ct")
    paths[0].write_bytes(paths[0].read_bytes()[:700])
    paths[1].write_bytes(b"")
    nameless = pydicom.dcmread(paths[2])
    del nameless.SeriesInstanceUID
    nameless.save_as(paths[2])
    twin = pydicom.dcmread(paths[3])
    twin.InstanceNumber = 99
    twin.save_as(tmp_path / "ct" / "twin")
    scan.rtstruct(tmp_path / "rt", {"GTV": CONTOUR})
    (tmp_path / "rt").write_bytes((tmp_path / "rt").read_bytes()[:-1500])
    return survey_export(tmp_path)


def test_a_damaged_file_is_named_and_the_others_are_read(tmp_path: Path, scan: Scan) -> None:
    found = damaged(tmp_path, scan)
    names = sorted(one.path.name for one in found.broken)
    assert names == ["IM0000", "IM0007", "IM0014", "rt", "twin"]
    assert len(found.series[scan.series].slices) == 17
    assert not any(word in one.what for one in found.broken for word in scan.who.texts)


def test_progress_counts_all_files(tmp_path: Path, scan: Scan) -> None:
    scan.write(tmp_path / "ct")
    seen: list[tuple[int, int]] = []
    survey_export(tmp_path, lambda done, total, _: seen.append((done, total)))
    assert seen == [(n, 20) for n in range(1, 21)]


def test_the_command_says_what_is_there_and_what_is_damaged(tmp_path: Path, scan: Scan) -> None:
    scan.write(tmp_path / "export" / "ct")
    shown = CliRunner().invoke(app, ["import", str(tmp_path), "--from", str(tmp_path / "export")])
    assert shown.exit_code == 0 and "1 patients, 1 CT series" in shown.output
    shutil.rmtree(tmp_path / "export")
    damaged(tmp_path / "export", scan)
    shown = CliRunner().invoke(app, ["import", str(tmp_path), "--from", str(tmp_path / "export")])
    assert shown.exit_code == 1 and "damaged: ct/IM0007" in shown.output


def test_an_image_type_of_numbers_is_a_damaged_slice_and_stops_no_other(
    tmp_path: Path, scan: Scan
) -> None:
    paths = scan.write(tmp_path)
    read = pydicom.dcmread(paths[0])
    del read.ImageType
    read.add(DataElement(0x00080008, "US", [1, 2]))
    read["ImageType"].value = 7
    read.save_as(paths[0])
    found = survey_export(tmp_path)
    assert [one.path for one in found.broken] == [paths[0]]
    assert len(found.series[scan.series].slices) == 19
    with pytest.raises(PatientError, match="against the standard"):
        read_folder(tmp_path)


def test_no_header_stays_in_memory(
    tmp_path: Path, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export of hundreds of patients has hundreds of thousands of slices."""
    scan.write(tmp_path)
    read: list[weakref.ref[pydicom.FileDataset]] = []
    alive = []

    def noting(path: Path, tags: tuple[str, ...]) -> pydicom.FileDataset:
        header = read_header(path, tags)
        alive.append(sum(one() is not None for one in read))
        read.append(weakref.ref(header))
        return header

    read_header = survey.read_header
    monkeypatch.setattr(survey, "read_header", noting)
    survey_export(tmp_path)
    assert len(alive) == 20 and max(alive) <= 2
