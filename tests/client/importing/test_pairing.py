"""Contours find the one series that they name; every doubt is a second pair, or none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

from client.importing.pairing import Images, images_by_person
from client.importing.survey import survey_export
from tests.fixtures.archive import Scan, body, ellipses, person

CONTOUR = ellipses((26, 22), 6, range(8, 13))


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    made = Scan(person(1), body(1))
    made.write(tmp_path / "ct")
    return made


def images(export: Path, *rois: str, match: str = "PatientID") -> dict[str, Images]:
    return images_by_person(survey_export(export), match, rois)


def change(path: Path, **elements: object) -> None:
    read = pydicom.dcmread(path)
    for keyword, value in elements.items():
        setattr(read, keyword, value)
    read.save_as(path)


def test_contours_belong_to_the_series_that_they_name(tmp_path: Path, scan: Scan) -> None:
    thin = Scan(scan.who, scan.hu, study=scan.study, frame=scan.frame)
    thin.write(tmp_path / "thin")
    scan.rtstruct(tmp_path / "rt", {"GTV": CONTOUR})
    (own,) = images(tmp_path).values()
    (pair,) = own.pairs
    assert pair.series.uid == scan.series and not pair.by_frame and len(own.series) == 2


def test_slices_that_are_named_without_their_series_are_enough(tmp_path: Path, scan: Scan) -> None:
    scan.rtstruct(tmp_path / "rt", {"GTV": CONTOUR})
    read = pydicom.dcmread(tmp_path / "rt")
    del read.ReferencedFrameOfReferenceSequence
    read.save_as(tmp_path / "rt")
    (own,) = images(tmp_path).values()
    assert [(one.series.uid, one.by_frame) for one in own.pairs] == [(scan.series, False)]


def test_the_frame_of_reference_is_the_last_resort(tmp_path: Path, scan: Scan) -> None:
    scan.rtstruct(tmp_path / "rt", {"GTV": CONTOUR}, names_series=False)
    (own,) = images(tmp_path).values()
    assert [one.by_frame for one in own.pairs] == [True]
    Scan(scan.who, scan.hu, study=scan.study, frame=scan.frame).write(tmp_path / "thin")
    (own,) = images(tmp_path).values()
    assert len(own.pairs) == 2, "two series fit"


def test_a_segmentation_without_references_has_its_frame_of_reference(
    tmp_path: Path, scan: Scan
) -> None:
    scan.seg(tmp_path / "seg", {"GTV": scan.hu > 60})
    read = pydicom.dcmread(tmp_path / "seg")
    del read.ReferencedSeriesSequence, read.SourceImageSequence
    for group in read.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence
    read.save_as(tmp_path / "seg")
    (own,) = images(tmp_path).values()
    assert [one.by_frame for one in own.pairs] == [True]


def test_contours_of_a_series_that_is_not_there_find_none(tmp_path: Path, scan: Scan) -> None:
    Scan(scan.who, scan.hu, frame=scan.frame).rtstruct(tmp_path / "rt", {"GTV": CONTOUR})
    (own,) = images(tmp_path).values()
    assert own.pairs == () and own.contours


def test_contours_without_a_person_are_of_the_person_of_their_series(
    tmp_path: Path, scan: Scan
) -> None:
    scan.rtstruct(tmp_path / "rt", {"GTV": CONTOUR})
    change(tmp_path / "rt", PatientID="", AccessionNumber="")
    for match, key in (("PatientID", scan.who.patient), ("AccessionNumber", scan.who.accession)):
        found = images(tmp_path, match=match)
        assert set(found) == {key} and len(found[key].pairs) == 1


def test_contours_on_the_series_of_another_person_are_never_taken(
    tmp_path: Path, scan: Scan
) -> None:
    scan.rtstruct(tmp_path / "rt", {"GTV": CONTOUR})
    change(tmp_path / "rt", PatientID="SOMEBODYELSE")
    found = images(tmp_path)
    assert set(found) == {scan.who.patient, "SOMEBODYELSE"}
    assert all(one.foreign and not one.pairs for one in found.values())


def test_the_most_wanted_name_that_occurs_is_the_roi(tmp_path: Path, scan: Scan) -> None:
    scan.rtstruct(tmp_path / "rt", {"GTV": CONTOUR, "Tumour ": CONTOUR, "cord": CONTOUR})

    def found(*rois: str) -> list[str]:
        (own,) = images(tmp_path, *rois).values()
        return [one.roi_name for one in own.pairs]

    assert found("tumour", "GTV") == ["Tumour"]
    assert found("nothing", "gtv") == ["GTV"]
    assert found("nothing") == []
    assert len(found()) == 3


def test_one_examination_may_have_its_accession_number_in_two_persons(
    tmp_path: Path, scan: Scan
) -> None:
    other = replace(person(2), accession=scan.who.accession)
    Scan(other, body(2), series=generate_uid()).write(tmp_path / "other")
    (own,) = images(tmp_path, match="AccessionNumber").values()
    assert own.patients == {scan.who.patient, other.patient}
