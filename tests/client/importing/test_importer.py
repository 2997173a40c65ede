"""From an export and a table to cohort.csv: what is taken, what is not, and nothing twice."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import openpyxl
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by

from client.check.images import units
from client.check.look import Job, look
from client.data.cohort import read_cohort
from client.imaging.radiomics.extraction import extract
from client.imaging.reading import read_image, read_mask
from client.importing import importer
from client.importing.pseudonyms import Pseudonyms, load_secret
from common.study.model import load_study
from tests.fixtures.archive import INSTITUTION, Scan, body, ellipses, person


def flat(shown) -> str:
    """Return what was shown as one line, without the frame of the table."""
    return " ".join(shown.output.replace("│", " ").split())


def pseudonym(hospital, number: int) -> str:
    return Pseudonyms(load_secret(hospital.site / "keys")).patient(person(number).patient)


def test_a_patient_is_taken_with_the_features_of_the_original_files(hospital) -> None:
    scan = hospital.patient(1)
    hospital.rows((person(1).patient, "ja", 71, 2))
    shown = hospital.run()
    assert shown.exit_code == 0, shown.output
    (row,) = hospital.cohort()
    assert row == {
        "patient_id": pseudonym(hospital, 1),
        "label": "1",
        "split": "train",
        "age": "71",
        "sex": "female",
        "image": f"images/{pseudonym(hospital, 1)}/ct",
        "mask": f"images/{pseudonym(hospital, 1)}/roi.dcm#ROI",
    }
    names, found = extract(
        hospital.site / row["image"], hospital.site / row["mask"], "radiomics-original", 105
    )
    series = next(path.parent for path in hospital.export.rglob("IM0000"))
    expected = extract(series, hospital.export / "rt" / "RS1#GTV", "radiomics-original", 105)
    assert names == expected[0]
    np.testing.assert_array_equal(found, expected[1])
    assert person(1).patient in shown.output, "this hospital's screen names its own patient"
    assert scan.series


def test_the_cohort_is_what_the_check_of_the_site_reads(hospital) -> None:
    hospital.patient(1)
    hospital.patient(2)
    hospital.rows((person(1).patient, "ja", 71, 2), (person(2).patient, "nein", 64, 1))
    hospital.run()
    cohort = read_cohort(hospital.site, "a", load_study(hospital.study))
    assert [one.label for one in cohort.patients] == [1, 0] and not cohort.problems
    for one in cohort.patients:
        seen = look(Job(one.patient_id, one.image, one.masks))
        assert not seen.problems and not seen.fields, "no field is left that the check would name"
        assert not [remark for remark in units(seen.image) if remark.severity != "ok"]


def test_nothing_of_a_person_is_left_in_any_byte_of_the_site(hospital) -> None:
    scans = [hospital.patient(1), hospital.scan(2)]
    scans[1].seg(hospital.export / "s", {"GTV": scans[1].hu > 60, "other": scans[1].hu < -900})
    hospital.scan(4)
    rows = [(person(n).patient, "ja", 70, 1) for n in (1, 2, 3)]
    hospital.rows(*rows)
    assert "2 taken" in hospital.run().output
    everything = hospital.everything().lower()
    for scan in scans:
        for text in (*scan.who.texts, *scan.uids, INSTITUTION, "Quixworth", "Ottoline"):
            assert text.lower().encode() not in everything, text
    assert person(4).patient.encode() not in everything
    assert b"calls often" not in everything, "only mapped columns are read"


def test_all_that_is_not_taken_is_shown_with_its_reason(hospital) -> None:
    two = hospital.scan(1)
    other = hospital.scan(1, frame=two.frame, study=two.study, kernel="B60s")
    two.rtstruct(
        hospital.export / "two", {"GTV": ellipses((26, 22), 6, range(8, 13))}, names_series=False
    )
    hospital.scan(2)
    hospital.patient(4)
    hospital.patient(5)
    hospital.patient(6)
    hospital.rows(
        *[(person(n).patient, "ja", 70, 1) for n in (1, 2, 3, 5, 5)],
        (person(6).patient, "vielleicht", 70, 1),
    )
    shown = hospital.run()
    assert shown.exit_code == 1
    statuses = hospital.statuses()
    by_number = {n: statuses[pseudonym(hospital, n)] for n in range(1, 7)}
    assert by_number == {
        1: "ambiguous",
        2: "no contour",
        3: "no images",
        4: "no row",
        5: "doubled",
        6: "unusable row",
    }
    assert "2 series fit" in flat(shown) and "B30f" in shown.output and "B60s" in flat(shown)
    assert "neither RTSTRUCT nor SEG" in flat(shown) and "vielleicht" in flat(shown)
    assert not (hospital.site / "cohort.csv").exists()
    assert other.series != two.series


def test_a_choice_settles_what_is_ambiguous(hospital) -> None:
    two = hospital.scan(1)
    hospital.scan(1, frame=two.frame, study=two.study, kernel="B60s")
    two.rtstruct(
        hospital.export / "two", {"GTV": ellipses((26, 22), 6, range(8, 13))}, names_series=False
    )
    hospital.rows((person(1).patient, "ja", 70, 1))
    code = flat(hospital.run()).split("B60s")[0].rsplit(" = ROI", 1)[0].split()[-1]
    mapping = (hospital.site / "import.toml").read_text(encoding="utf-8")
    hospital.map(f'{mapping}\n[choices]\n{pseudonym(hospital, 1)} = "{code}"\n')
    shown = hospital.run()
    assert shown.exit_code == 0 and "frame of reference alone" in flat(shown)
    slice_ = pydicom.dcmread(next(hospital.site.rglob("0000.dcm")))
    assert slice_.ConvolutionKernel == "B60s"
    hospital.map(f'{mapping}\n[choices]\n{pseudonym(hospital, 1)} = "xxxxxx"\n')
    assert "none of this patient's" in flat(hospital.run())


def test_an_accession_number_of_two_persons_is_never_taken(hospital) -> None:
    scan = hospital.patient(1)
    twin = Scan(replace(person(2), accession=person(1).accession), body(2))
    twin.write(hospital.export / "twin")
    text = (hospital.site / "import.toml").read_text(encoding="utf-8")
    hospital.map(text.replace("PatientID", "AccessionNumber"))
    hospital.rows((person(1).accession, "ja", 71, 2))
    shown = hospital.run()
    assert list(hospital.statuses().values()) == ["doubled"]
    assert "an accession number of 2 persons" in flat(shown)
    assert f"doubled accession number {scan.who.accession}" in shown.output


def test_a_row_may_name_the_accession_number(hospital) -> None:
    hospital.patient(1)
    text = (hospital.site / "import.toml").read_text(encoding="utf-8")
    hospital.map(text.replace("PatientID", "AccessionNumber"))
    hospital.rows((person(1).accession, "ja", 71, 2))
    assert hospital.run().exit_code == 0
    (row,) = hospital.cohort()
    shown = hospital.run("--who", row["patient_id"])
    assert shown.stdout == f"{person(1).accession}\n"
    assert person(1).accession.lower().encode() not in hospital.everything().lower()


def test_a_second_import_does_nothing_twice_and_a_changed_contour_replaces(hospital) -> None:
    scan = hospital.patient(1)
    hospital.patient(2)
    hospital.rows((person(1).patient, "ja", 71, 2), (person(2).patient, "nein", 64, 1))
    hospital.run()
    before = {path: path.stat().st_mtime_ns for path in hospital.site.rglob("*.dcm")}
    assert "2 unchanged" in hospital.run().output
    assert {path: path.stat().st_mtime_ns for path in hospital.site.rglob("*.dcm")} == before
    mask = hospital.site / "images" / pseudonym(hospital, 1) / "roi.dcm"
    old = mask.read_bytes()
    scan.rtstruct(hospital.export / "rt" / "RS1", {"GTV": ellipses((26, 22), 5, range(8, 13))})
    shown = hospital.run()
    assert "1 taken, 1 unchanged" in flat(shown) and shown.exit_code == 0
    assert mask.read_bytes() != old
    assert not [
        path for path in hospital.site.rglob("*") if path.name.startswith((".part", ".old"))
    ]


def test_patients_of_an_earlier_export_stay(hospital) -> None:
    hospital.patient(1)
    hospital.rows((person(1).patient, "ja", 71, 2))
    hospital.run()
    shutil.rmtree(hospital.export)
    hospital.patient(2)
    hospital.rows((person(1).patient, "ja", 71, 2), (person(2).patient, "nein", 64, 1))
    shown = hospital.run()
    assert "1 taken, 1 taken earlier" in shown.output
    assert len(hospital.cohort()) == 2


def test_an_interrupted_import_goes_on_where_it_was(hospital, monkeypatch) -> None:
    hospital.patient(1)
    hospital.patient(2)
    hospital.rows((person(1).patient, "ja", 71, 2), (person(2).patient, "nein", 64, 1))
    copy, copied = importer.copy_patient, []

    def interrupted(*given, **more):
        if copied:
            copy(*given, **more)
            raise KeyboardInterrupt
        copied.append(1)
        return copy(*given, **more)

    monkeypatch.setattr(importer, "copy_patient", interrupted)
    hospital.run()
    monkeypatch.undo()
    assert "1 taken, 1 unchanged" in hospital.run().output


def test_questions_are_asked_once(hospital) -> None:
    hospital.patient(1)
    hospital.rows((person(1).patient, "ja", 71, 2))
    (hospital.site / "import.toml").unlink()
    # ids, what they are, ROI, label, split, age, sex, and the codes of label and sex
    answers = ["", "", "-", "pn", "=train", "alter", "geschlecht", "1", "female"]
    shown = hospital.run(said="\n".join(answers) + "\n")
    assert "2 contours fit" in shown.output, "two ROIs, and nobody has said which"
    shown = hospital.run(said="GTV\n")
    assert shown.exit_code == 0, shown.output
    text = (hospital.site / "import.toml").read_text(encoding="utf-8")
    assert 'roi = [\n    "GTV",\n]' in text
    assert hospital.run(said="").exit_code == 0, "nothing is asked any more"
    assert person(1).patient not in text


def test_a_workbook_is_read_as_a_csv_is(hospital) -> None:
    hospital.patient(1)
    book = openpyxl.Workbook()
    book.active.append(["record", "pn", "alter", "geschlecht"])
    book.active.append([person(1).patient, "ja", 71.0, 2])
    book.save(hospital.table.with_suffix(".xlsx"))
    hospital.table = hospital.table.with_suffix(".xlsx")
    assert hospital.run().exit_code == 0
    assert hospital.cohort()[0]["age"] == "71" and hospital.cohort()[0]["sex"] == "female"


@pytest.mark.parametrize("column", ["alter", "record"])
def test_a_column_that_is_not_there_is_named(hospital, column) -> None:
    hospital.patient(1)
    hospital.rows((person(1).patient, "ja", 71, 2))
    hospital.table.write_text(hospital.table.read_text().replace(column, "x"))
    shown = hospital.run()
    assert shown.exit_code == 1 and column in str(shown.exception)


def test_an_identifier_that_lost_its_zeros_is_pointed_out(hospital) -> None:
    who = replace(person(1), patient="0004711")
    scan = Scan(who, body(1))
    scan.write(hospital.export / "ct")
    scan.rtstruct(hospital.export / "rt", {"GTV": ellipses((26, 22), 6, range(8, 13))})
    hospital.rows(("4711", "ja", 71, 2))
    shown = hospital.run()
    assert sorted(hospital.statuses().values()) == ["no images", "no row"]
    assert "the images have 0004711: write it so, as text" in flat(shown)


def test_another_frame_of_reference_needs_a_word_of_the_hospital(hospital) -> None:
    scan = hospital.patient(1)
    path = hospital.export / "rt" / "RS1"
    contours = pydicom.dcmread(path)
    contours.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "1.2.3"
    for roi in contours.StructureSetROISequence:
        roi.ReferencedFrameOfReferenceUID = "1.2.3"
    contours.save_as(path)
    hospital.rows((person(1).patient, "ja", 71, 2))
    shown = hospital.run()
    assert list(hospital.statuses().values()) == ["unusable images"]
    assert "write the pseudonym into confirmed of import.toml" in flat(shown)
    text = (hospital.site / "import.toml").read_text(encoding="utf-8")
    hospital.map(f'confirmed = ["{pseudonym(hospital, 1)}"]\n{text}')
    assert hospital.run().exit_code == 0
    assert hospital.cohort()[0]["confirmed"] == "frame_of_reference"
    cohort = read_cohort(hospital.site, "a", load_study(hospital.study))
    (one,) = cohort.patients
    assert not look(Job(one.patient_id, one.image, one.masks, one.confirmed)).problems
    assert scan.frame


def test_repeated_readings_are_columns_of_their_own(hospital) -> None:
    scan = hospital.scan(1)
    again = ellipses((26, 22), 5, range(8, 13))
    scan.rtstruct(
        hospital.export / "first", {"GTV": ellipses((26, 22), 6, range(8, 13)), "GTV b": again}
    )
    inside = np.zeros(scan.hu.shape, dtype=bool)
    inside[8:12, 18:26, 22:30] = True
    scan.seg(hospital.export / "second", {"reader 2": inside})
    hospital.patient(2)
    text = (hospital.site / "import.toml").read_text(encoding="utf-8")
    hospital.map(f'{text}\n[readings]\nr1_repeat = ["GTV b"]\nr2 = ["reader 2"]\n')
    hospital.rows((person(1).patient, "ja", 71, 2), (person(2).patient, "ja", 71, 2))
    assert hospital.run().exit_code == 0
    both, one = hospital.cohort()
    assert both["mask_r1_repeat"].endswith("roi_r1_repeat.dcm#ROI") and both["mask_r2"]
    assert one["mask_r1_repeat"] == one["mask_r2"] == ""
    cohort = read_cohort(hospital.site, "a", load_study(hospital.study))
    assert [set(p.masks) for p in cohort.patients] == [{"r1", "r1_repeat", "r2"}, {"r1"}]
    image = read_image(cohort.patients[0].image)
    sizes = {
        r: int((sitk.GetArrayFromImage(read_mask(m, image)) > 0).sum())
        for r, m in cohort.patients[0].masks.items()
    }
    assert sizes["r2"] == inside.sum() and sizes["r1_repeat"] < sizes["r1"]


def test_a_cohort_of_another_origin_is_never_overwritten(hospital) -> None:
    hospital.patient(1)
    hospital.rows((person(1).patient, "ja", 71, 2))
    (hospital.site / "cohort.csv").write_text("patient_id\n")
    shown = hospital.run()
    assert shown.exit_code == 1 and "no import has written" in str(shown.exception)
    assert (hospital.site / "cohort.csv").read_text() == "patient_id\n"


def test_a_patient_that_breaks_a_library_never_stops_the_others(hospital, monkeypatch) -> None:
    hospital.patient(1)
    hospital.patient(2)
    hospital.rows((person(1).patient, "ja", 71, 2), (person(2).patient, "ja", 71, 2))
    copy, copied = importer.copy_patient, []

    def breaks(*given, **more):
        copied.append(1)
        if len(copied) == 1:
            raise RuntimeError(person(1).family)
        return copy(*given, **more)

    monkeypatch.setattr(importer, "copy_patient", breaks)
    shown = hospital.run()
    assert "1 taken, 1 unusable images" in flat(shown) and person(1).family not in shown.output


def test_text_that_is_drawn_into_the_pixels_is_reported(hospital) -> None:
    hospital.patient(1)
    for path in hospital.export.glob("disc*/**/IM*"):
        read = pydicom.dcmread(path)
        read.BurnedInAnnotation = "YES"
        read.save_as(path)
    hospital.rows((person(1).patient, "ja", 71, 2))
    shown = hospital.run()
    assert "text is drawn into the pixels" in flat(shown)
    (row,) = (hospital.site / "import.csv").read_text().splitlines()[1:]
    assert row == f"{pseudonym(hospital, 1)},taken,1,1,yes"


@pytest.mark.parametrize(
    "change",
    [{"ImagePositionPatient": [-31, -17, 9000]}, {"Rows": 65535, "Columns": 65535}],
    ids=["far", "large"],
)
def test_a_slice_that_cannot_be_used_is_named_as_in_the_export(hospital, change) -> None:
    scan = hospital.patient(1)
    folder = hospital.export / "disc1" / "DICOM" / scan.series[-6:]
    path = max(folder.iterdir(), key=lambda one: pydicom.dcmread(one).ImagePositionPatient[2])
    read = pydicom.dcmread(path)
    for name, value in change.items():
        setattr(read, name, value)
    read.save_as(path)
    hospital.rows((person(1).patient, "ja", 71, 2))
    shown = flat(hospital.run())
    assert hospital.statuses()[pseudonym(hospital, 1)] == "unusable images"
    assert f"{folder.name}/{path.name}" in shown.replace(" ", ""), shown
