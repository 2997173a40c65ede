"""Whatever identifies a person, in any element at any depth, is gone after de-identification."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from datetime import datetime

import numpy as np
import pydicom
import pytest
from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import DicomDictionary, dictionary_VR
from pydicom.dataset import Dataset

from client.importing.deidentify import EDITION, Deidentifier
from client.importing.pseudonyms import Pseudonyms
from tests.fixtures.archive import Person, Scan, body, ellipses

NAME, NUMBER, BIRTH, UID = "Zanzibarius", "73100377", "19470317", "1.2.826.0.99.73100377"
WHO = Person(NAME, "Quorvik", NUMBER, "9021000531", BIRTH)
SECRETS = (NAME, "Quorvik", NUMBER, "9021000531", BIRTH, WHO.when, UID)
SCAN = Scan(WHO, body(1, (4, 8, 8)))
NAMES = Pseudonyms(bytes(range(32)))
PERSON = Deidentifier(NAMES, "P-bcdfghjklmnp", NUMBER)
# pixels and points are what is wanted; the class of an object decides how it is read
WANTED = {0x7FE00010, 0x00080016, 0x30060050}
TAGS = sorted(tag for tag in DicomDictionary if tag not in WANTED and tag >> 16 > 2)
REPEATED = (0x50003000, 0x50000022, 0x60003000, 0x60000022, 0x601E3000)
VALUES = {
    **dict.fromkeys(("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UT", "UR"), NAME),
    **dict.fromkeys(("OB", "OW", "UN", "OF", "OD", "OL", "OV"), NAME.encode() + b"!"),
    **dict.fromkeys(("DS", "IS"), NUMBER),
    **{"CS": NAME.upper(), "DA": BIRTH, "DT": BIRTH + "101112", "UI": UID, "AS": "071Y"},
}


def ct() -> pydicom.FileDataset:
    return SCAN.slice(1)


CONTOURS_OF: dict[str, pydicom.FileDataset] = {}


@pytest.fixture(scope="module", autouse=True)
def contours(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("rt") / "rt"
    CONTOURS_OF["rt"] = SCAN.rtstruct(path, {NAME: ellipses((4, 4), 2, range(1, 3))})


def element(tag: int) -> pydicom.DataElement | None:
    """Return an element that holds a secret, None for a VR of binary numbers."""
    vr = dictionary_VR(tag).split(" or ")[-1]
    if vr == "SQ":
        inner = Dataset()
        inner.PatientName, inner.StudyInstanceUID, inner.ContentDate = NAME, UID, BIRTH
        inner.TextValue = NAME
        return pydicom.DataElement(tag, vr, [inner])
    if vr not in VALUES:
        return None
    return pydicom.DataElement(tag, vr, VALUES[vr])


def written(made: pydicom.FileDataset) -> bytes:
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def places(made: Dataset) -> list[Dataset]:
    """Return the object and all items of its sequences."""
    found = [made]
    for one in made:
        if one.VR == "SQ":
            found += [inner for item in one.value for inner in places(item)]
    return found


@settings(max_examples=300)
@given(
    tag=st.sampled_from(TAGS) | st.sampled_from(REPEATED),
    at=st.integers(0, 40),
    kind=st.sampled_from(["ct", "rt"]),
    private=st.booleans(),
)
def test_no_element_carries_a_secret_through(tag: int, at: int, kind: str, private: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = read_again(ct() if kind == "ct" else CONTOURS_OF["rt"])
        inside = places(made)[at % len(places(made))]
        added = element(tag)
        if added is not None:
            inside.add(added)
        if private:
            block = inside.private_block(0x0099, NAME, create=True)
            block.add_new(1, "LO", NAME)
            block.add_new(2, "OB", NAME.encode() + b"!")
        data = written(PERSON.clean(read_again(made))).lower()
    for secret in (*SECRETS, SCAN.study, SCAN.series, SCAN.frame, *SCAN.instances):
        assert secret.lower().encode() not in data


def read_again(made: pydicom.FileDataset) -> pydicom.FileDataset:
    """Return an object as it would come from a file."""
    return pydicom.dcmread(io.BytesIO(written(made)))


@pytest.mark.parametrize("vr", ["LO", "UT", "PN"])
def test_a_text_in_place_of_a_number_or_date_is_deleted(vr: str) -> None:
    for keyword in ("TableHeight", "StudyDate", "SeriesNumber", "KVP"):
        made = ct()
        made.add_new(pydicom.tag.Tag(keyword), vr, NAME)
        assert NAME.lower().encode() not in written(PERSON.clean(made)).lower()


def test_an_element_that_cannot_be_read_is_emptied_and_hides_no_other() -> None:
    made = read_again(ct())
    number, word = b"DS\x06\x00120.0 ", b"DS\x06\x00Zanzi!"
    assert written(made).count(number) == 1
    data = written(made).replace(number, word)
    read = pydicom.dcmread(io.BytesIO(data))
    read.ManufacturerModelName = f"Scanner of {NAME}"
    cleaned = PERSON.clean(read)
    assert not cleaned.get("KVP") and cleaned.ManufacturerModelName == ""
    assert b"Zanzi!" not in written(cleaned)


def test_the_preamble_and_the_files_own_information_are_new() -> None:
    data = written(PERSON.clean(ct()))
    assert data[:128] == bytes(128)
    assert b"ELSEWHERE" not in data


def test_every_element_of_the_profile_is_treated_though_it_might_be_kept() -> None:
    made = PERSON.clean(ct())
    table = dicom_anonymization_database_selector(EDITION)
    deleted = [tag for tag in table["X_TAGS"] if len(tag) == 2 and tag in made]
    assert deleted == []
    assert made.PatientSex == made.AccessionNumber == made.StudyID == ""
    assert made.PatientBirthDate == made.StudyTime == ""


def test_uids_are_replaced_alike_and_those_of_the_standard_stay() -> None:
    image, contours = PERSON.clean(ct()), PERSON.clean(read_again(CONTOURS_OF["rt"]))
    assert image.SOPClassUID == pydicom.uid.CTImageStorage
    (frame,) = contours.ReferencedFrameOfReferenceSequence
    (series,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert series.SeriesInstanceUID == image.SeriesInstanceUID == NAMES.uid(SCAN.series)
    named = {one.ReferencedSOPInstanceUID for one in series.ContourImageSequence}
    assert image.SOPInstanceUID in named
    assert frame.FrameOfReferenceUID == image.FrameOfReferenceUID
    assert image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID


def test_dates_move_by_the_days_of_the_person_alone() -> None:
    def moved(scan: Scan) -> int:
        made = Deidentifier(NAMES, "P-b", scan.who.patient).clean(scan.slice(0))
        before, after = (datetime.strptime(d, "%Y%m%d") for d in (scan.who.when, made.StudyDate))
        assert made.StudyDate == made.ContentDate
        return (before - after).days

    later = Scan(replace(WHO, when="20200301"), SCAN.hu)
    assert moved(SCAN) == moved(later) == NAMES.days(NUMBER)
    other = Scan(replace(WHO, patient="73100378"), SCAN.hu)
    assert moved(other) != moved(SCAN)


def test_the_roi_is_called_the_same_for_all() -> None:
    made = PERSON.clean(read_again(CONTOURS_OF["rt"]))
    assert [one.ROIName for one in made.StructureSetROISequence] == ["ROI"]
    assert not np.array_equal(made.ROIContourSequence[0].ContourSequence[0].ContourData, [])
