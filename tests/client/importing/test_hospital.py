"""A whole hospital: three real patients in an export, and copies that a validator accepts."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest

from client.imaging.radiomics.extraction import extract
from client.importing.pseudonyms import Pseudonyms, load_secret
from tests.fixtures.archive import INSTITUTION, Person, Scan, body, identify, person

STS = Path(__file__).parents[4] / "shared" / "data" / "sts" / "dicom"
REAL = ("STS_002", "STS_019", "STS_025")
needs_real = pytest.mark.skipif(
    not STS.is_dir(),
    reason="NOT TESTED: import of real patients, as shared/data/sts is not beside the project",
)
needs_validator = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="NOT TESTED: no dicom3tools here"
)


def made_up(source: Path, target: Path, who: Person) -> list[str]:
    """Copy objects under a made-up person; return their original UIDs."""
    target.mkdir(parents=True)
    uids: list[str] = []
    for number, path in enumerate(sorted(p for p in source.rglob("*") if p.is_file())):
        read = pydicom.dcmread(path)
        identify(read, who)
        read.save_as(target / f"{number:05d}")
        uids += [str(one.value) for one in read if one.VR == "UI"]
    return uids


@needs_real
def test_three_real_patients_have_all_1834_features_of_their_own_files(hospital) -> None:
    uids: list[str] = []
    for number, name in enumerate(REAL):
        who = person(100 + number)
        uids += made_up(STS / name, hospital.export / f"d{number}" / "x" / "y", who)
    hospital.rows(*[(person(100 + n).patient, "ja", 60 + n, 1) for n in range(3)])
    mapping = (hospital.site / "import.toml").read_text().replace('roi = ["GTV"]\n', "")
    hospital.map(mapping)
    hospital.study.write_text(
        hospital.study.read_text()
        .replace("radiomics-original", "radiomics-1834")
        .replace("105", "1834")
    )
    shown = hospital.run()
    assert shown.exit_code == 0, shown.output
    names = Pseudonyms(load_secret(hospital.site / "keys"))
    rows = {row["patient_id"]: row for row in hospital.cohort()}
    for number, name in enumerate(REAL):
        row = rows[names.patient(person(100 + number).patient)]
        # all of one patient, and the unfiltered ones of the others
        kind, count = ("radiomics-original", 105) if number else ("radiomics-1834", 1834)
        image, mask = hospital.site / row["image"], hospital.site / row["mask"]
        _, found = extract(image, mask, kind, count)
        _, expected = extract(STS / name / "ct", STS / name / "rtstruct.dcm", kind, count)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=0)
    everything = hospital.everything().lower()
    texts = [text for n in range(3) for text in person(100 + n).texts]
    wanted = {uid for uid in uids if not uid.startswith("1.2.840.10008.")}
    for text in (*texts, *wanted, *REAL, INSTITUTION, "IBSI_1_STS"):
        assert text.lower().encode() not in everything, text


def complaints(path: Path) -> set[str]:
    """Return the errors that dciodvfy finds in an object."""
    done = subprocess.run(
        [str(shutil.which("dciodvfy")), "-new", path], capture_output=True, text=True, check=False
    )
    lines = (done.stdout + done.stderr).splitlines()
    return {re.sub(r"<[^>]*> *$", "", one) for one in lines if one.startswith("Error")}


@needs_real
@needs_validator
def test_a_validator_finds_no_new_error_in_the_copies(hospital) -> None:
    made_up(STS / REAL[0], hospital.export / "a", person(1))
    scan = Scan(person(2), body(2))
    scan.write(hospital.export / "b")
    scan.seg(hospital.export / "c", {"GTV": scan.hu > 60})
    hospital.rows((person(1).patient, "ja", 60, 1), (person(2).patient, "ja", 60, 1))
    hospital.map((hospital.site / "import.toml").read_text().replace('roi = ["GTV"]\n', ""))
    assert hospital.run().exit_code == 0
    before = set().union(*(complaints(p) for p in STS.glob(f"{REAL[0]}/**/*") if p.is_file()))
    before |= complaints(hospital.export / "b" / "IM0000") | complaints(hospital.export / "c")
    copies = sorted(hospital.site.rglob("*.dcm"))
    assert len(copies) > 60
    after = set().union(*(complaints(path) for path in copies))
    assert after <= before
