"""`fedlnm-site import` from a real PACS gives what it gives from an export."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from client.check.retrieved import check_retrieved
from client.check.runner import site_of
from client.cli import app
from client.imaging.radiomics.extraction import extract
from client.importing.archive import SPOOL, FoundSeries
from client.importing.pacs import OWN_TITLE, Pacs
from client.importing.pseudonyms import Pseudonyms, load_secret
from common.utils.processes import free_port
from tests.client.importing.test_hospital import REAL, STS, made_up, needs_real
from tests.fixtures.archive import INSTITUTION, ellipses, person
from tests.fixtures.orthanc import Orthanc, needs_dicomweb, needs_orthanc, orthanc

PHANTOMS, KINDS, FIRST_REAL = (1, 2, 3), range(1, 7), 100
MOVE_PORT = free_port()
pytestmark = [needs_orthanc, needs_dicomweb]


@pytest.fixture
def pacs(hospital: Any, tmp_path: Path) -> Iterator[Orthanc]:
    """An archive that holds what the hospital could also export."""
    with orthanc(tmp_path / "pacs", {"us": [OWN_TITLE, "127.0.0.1", MOVE_PORT]}) as running:
        yield running


def ways(pacs: Orthanc) -> dict[str, list[str]]:
    return {
        "get": ["--pacs", pacs.peer],
        "move": ["--pacs", pacs.peer, "--listen", str(MOVE_PORT)],
        "web": ["--dicomweb", f"{pacs.url}/dicom-web"],
    }


def fetch(hospital: Any, *more: str) -> Any:
    """Import from the archive by a column of the hospital's own table."""
    words = ["import", hospital.site, "--table", hospital.table, "--study", hospital.study]
    return CliRunner().invoke(app, [*map(str, words), "--yes", "--patient", "record", *more])


def copies(site: Path) -> dict[str, bytes]:
    """Everything that an import leaves, but for records of when."""
    paths = [path for path in sorted(site.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(site)): path.read_bytes()
        for path in paths
        if path.suffix == ".dcm" or path.name in ("cohort.csv", "import.csv")
    }


def test_every_way_leaves_the_very_files_that_an_export_gives(
    hospital: Any, make_hospital: Callable[[str], Any], pacs: Orthanc
) -> None:
    scans = [hospital.patient(number) for number in PHANTOMS]
    hospital.rows(*[(person(number).patient, "ja", 50 + number, 1) for number in PHANTOMS])
    assert hospital.run().exit_code == 0
    wanted = copies(hospital.site)
    assert len([name for name in wanted if name.endswith(".dcm")]) == 3 * 21
    pacs.store(hospital.export)
    for way, words in ways(pacs).items():
        other = make_hospital(way)
        other.rows(*[(person(number).patient, "ja", 50 + number, 1) for number in PHANTOMS])
        (other.site / "keys").mkdir(mode=0o700)
        for key in (hospital.site / "keys").iterdir():
            (other.site / "keys" / key.name).write_bytes(key.read_bytes())
            (other.site / "keys" / key.name).chmod(0o600)
        shown = fetch(other, *words)
        assert shown.exit_code == 0, shown.output
        assert "retrieved: 63 files of 6 series" in shown.output
        assert copies(other.site) == wanted, way
        everything = other.everything().lower()
        for scan in scans:
            for text in (*scan.who.texts, *scan.uids, INSTITUTION):
                assert text.lower().encode() not in everything, text


@needs_real
def test_three_real_patients_from_a_pacs_have_the_features_of_their_own_files(
    hospital: Any, pacs: Orthanc
) -> None:
    uids: list[str] = []
    for number, name in enumerate(REAL, start=FIRST_REAL):
        uids += made_up(STS / name, hospital.export / name, person(number))
    pacs.store(hospital.export)
    numbers = range(FIRST_REAL, FIRST_REAL + len(REAL))
    hospital.rows(*[(person(number).patient, "ja", 60, 1) for number in numbers])
    hospital.map((hospital.site / "import.toml").read_text().replace('roi = ["GTV"]\n', ""))
    shown = fetch(hospital, "--pacs", pacs.peer)
    assert shown.exit_code == 0, shown.output
    names = Pseudonyms(load_secret(hospital.site / "keys"))
    rows = {row["patient_id"]: row for row in hospital.cohort()}
    for number, name in zip(numbers, REAL, strict=True):
        row = rows[names.patient(person(number).patient)]
        image, mask = hospital.site / row["image"], hospital.site / row["mask"]
        _, found = extract(image, mask, "radiomics-original", 105)
        _, wanted = extract(
            STS / name / "ct", STS / name / "rtstruct.dcm", "radiomics-original", 105
        )
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=0)
    everything = hospital.everything().lower()
    texts = [text for number in numbers for text in person(number).texts]
    wanted_gone = {uid for uid in uids if not uid.startswith("1.2.840.10008.")}
    for text in (*texts, *wanted_gone, INSTITUTION):
        assert text.lower().encode() not in everything, text


def test_phantoms_of_every_kind_from_a_pacs_have_the_features_of_their_own_files(
    hospital: Any, pacs: Orthanc
) -> None:
    scans = {number: hospital.scan(number) for number in KINDS}
    for number, scan in scans.items():
        path = hospital.export / "contours" / f"c{number}"
        if number % 2:
            polygons = ellipses((26.3, 22.6), 5 + number % 3, range(7, 13))
            scan.rtstruct(path, {"GTV": polygons, f"node {scan.who.family}": polygons})
        else:
            inside = np.zeros(scan.hu.shape, dtype=bool)
            inside[7:13, 17:27, 20 : 30 + number % 3] = True
            scan.seg(path, {"GTV": inside & (scan.hu > 30), "node": inside})
    hospital.rows(*[(person(n).patient, "ja", 50 + n, 1 + n % 2) for n in KINDS])
    pacs.store(hospital.export)
    shown = fetch(hospital, "--pacs", pacs.peer)
    assert shown.exit_code == 0 and f"{len(KINDS)} taken" in shown.output, shown.output
    names = Pseudonyms(load_secret(hospital.site / "keys"))
    rows = {row["patient_id"]: row for row in hospital.cohort()}
    for number, scan in scans.items():
        row = rows[names.patient(person(number).patient)]
        assert row["age"] == str(50 + number)
        image, mask = hospital.site / row["image"], hospital.site / row["mask"]
        _, found = extract(image, mask, "radiomics-original", 105)
        series = hospital.series(number, scan)
        contours = hospital.export / "contours" / f"c{number}#GTV"
        _, expected = extract(series, contours, "radiomics-original", 105)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=0)
    everything = hospital.everything().lower()
    for scan in scans.values():
        for text in (*scan.who.texts, *scan.uids, INSTITUTION, "Quixworth"):
            assert text.lower().encode() not in everything, text


def test_what_does_not_come_is_said_and_what_came_is_removed(hospital: Any, pacs: Orthanc) -> None:
    hospital.patient(1)
    pacs.store(hospital.export)
    unknown = person(9).patient
    hospital.rows((person(1).patient, "ja", 51, 1), (unknown, "nein", 52, 2))
    shown = fetch(hospital, "--pacs", pacs.peer)
    assert shown.exit_code == 1
    assert f"unknown to the archive: patient ID {unknown}" in shown.output
    assert "1 taken" in shown.output
    assert not list((hospital.site / "work").iterdir())


def test_an_interrupted_import_goes_on_where_it_was(
    hospital: Any, pacs: Orthanc, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = [hospital.patient(number) for number in (1, 2)]
    pacs.store(hospital.export)
    hospital.rows(*[(person(number).patient, "ja", 50, 1) for number in (1, 2)])
    asked: list[str] = []
    honest = Pacs.retrieve

    def interrupted(self: Pacs, series: FoundSeries, folder: Path) -> None:
        asked.append(series.modality)
        if len(asked) == 3:  # the first of the second person's two series
            raise KeyboardInterrupt
        honest(self, series, folder)

    monkeypatch.setattr(Pacs, "retrieve", interrupted)
    shown = fetch(hospital, "--pacs", pacs.peer)
    assert shown.exit_code != 0
    assert "kept for the next import, with names" in shown.output
    left = hospital.site / "work" / SPOOL
    assert len(list(left.rglob("*.dcm"))) == 21
    monkeypatch.setattr(Pacs, "retrieve", honest)
    (row,) = check_retrieved(site_of(hospital.site))
    assert row.severity == "warning" and "21 files with names" in row.what
    shown = fetch(hospital, "--pacs", pacs.peer)
    assert shown.exit_code == 0 and "2 taken" in shown.output, shown.output
    assert "42 files of 4 series; 1 series were there" in shown.output
    (row,) = check_retrieved(site_of(hospital.site))
    assert row.severity == "ok" and not list((hospital.site / "work").iterdir())
    everything = hospital.everything().lower()
    for scan in scans:
        assert not [text for text in scan.who.texts if text.lower().encode() in everything]


def test_what_an_interrupted_import_has_left_can_be_removed(hospital: Any) -> None:
    left = hospital.site / "work" / SPOOL / "series"
    left.mkdir(parents=True)
    (left / "x.dcm").write_bytes(b"a name")
    shown = CliRunner().invoke(app, ["import", str(hospital.site), "--forget"])
    assert shown.exit_code == 0 and "removed: 1 files" in shown.output
    assert not list((hospital.site / "work").iterdir())


def test_a_list_is_tried_without_a_table_and_nothing_stays(hospital: Any, pacs: Orthanc) -> None:
    scan = hospital.patient(1)
    pacs.store(hospital.export)
    (hospital.site.parent / "one").write_text(f"{scan.who.accession}\n", encoding="utf-8")
    words = ["import", str(hospital.site), "--pacs", pacs.peer]
    answers = CliRunner().invoke(app, [*words, "--echo"])
    assert "answers C-ECHO (status 0x0000) and offers C-FIND, C-GET, C-MOVE" in answers.output
    shown = CliRunner().invoke(app, [*words, "--accession", str(hospital.site.parent / "one")])
    assert shown.exit_code == 0, shown.output
    assert "1 patients, 1 CT series, 1 files of contours" in shown.output
    assert not list((hospital.site / "work").iterdir())
    assert not (hospital.site / "cohort.csv").exists()


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ([], "nothing to import"),
        (["--from", ".", "--pacs", "A@h:1"], "images from two places"),
        (["--pacs", "A@h:1", "--dicomweb", "https://h"], "two archives"),
        (["--pacs", "A@h:1"], "by accession number or by patient ID"),
    ],
)
def test_options_that_do_not_go_together_are_named(
    hospital: Any, more: list[str], what: str
) -> None:
    done = CliRunner().invoke(app, ["import", str(hospital.site), *more])
    assert what in str(done.exception)
