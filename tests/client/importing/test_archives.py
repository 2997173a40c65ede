"""Retrieval from a real PACS: C-GET, C-MOVE and DICOMweb bring the same, and say what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pydicom
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from pydicom.uid import generate_uid

from client.importing.archive import Archive, ArchiveError, retrieve
from client.importing.archive_options import ArchiveOptions, open_archive
from client.importing.pacs import OWN_TITLE
from common.utils.processes import free_port
from server.deployment.authority import Pair, make_authority
from tests.fixtures.archive import Scan, body, ellipses, person
from tests.fixtures.orthanc import (
    TITLE,
    Orthanc,
    needs_dicomweb,
    needs_nginx,
    needs_orthanc,
    orthanc,
    over_tls,
)

STS = Path(__file__).resolve().parents[4] / "shared" / "data" / "sts" / "dicom"
WAYS = ("get", "move", "web")
CONTOUR = ellipses((26, 22), 6, range(8, 13))
MOVE_PORT = free_port()
pytestmark = [needs_orthanc, needs_dicomweb, needs_nginx]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Patients as scanners and planning systems write them, with objects that nobody asks for."""
    root = tmp_path_factory.mktemp("stored")
    for number in range(1, 4):
        scan = Scan(person(number), body(number))
        scan.write(root / f"ct{number}")
        if number == 2:
            scan.seg(root / f"seg{number}", {"tumour": scan.hu > 60})
        else:
            scan.rtstruct(root / f"rt{number}", {"GTV": CONTOUR})
        other = pydicom.dcmread(root / f"ct{number}" / "IM0000")
        other.Modality, other.SeriesInstanceUID = "OT", generate_uid()
        other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        other.save_as(root / f"other{number}")
    bare = Scan(person(4), body(4))
    bare.write(root / "ct4")
    twice = Scan(person(1), body(5))
    twice.write(root / "ct5")
    if STS.is_dir():
        add_sts(root / "sts")
    return root


def add_sts(folder: Path) -> None:
    """The public sarcoma patients, under made-up names and numbers."""
    for number, source in enumerate(sorted(STS.iterdir()), start=30):
        who = person(number)
        for path in (path for path in source.rglob("*") if path.is_file()):
            one = pydicom.dcmread(path)
            one.PatientName, one.PatientID, one.AccessionNumber = (
                who.name,
                who.patient,
                who.accession,
            )
            place = folder / source.name / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            one.save_as(place)


@pytest.fixture(scope="module")
def pacs(stored: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """A PACS with these patients that knows this machine, and another by its title alone."""
    known = {"us": [OWN_TITLE, "127.0.0.1", MOVE_PORT], "other": ["OTHER", "127.0.0.1", 1]}
    with orthanc(tmp_path_factory.mktemp("pacs"), known) as running:
        running.store(stored)
        yield running


def options_of(pacs: Orthanc, way: str, **more: Any) -> ArchiveOptions:
    if way == "web":
        return ArchiveOptions(dicomweb=f"{pacs.url}/dicom-web", **more)
    listen = MOVE_PORT if way == "move" else 0
    return ArchiveOptions(pacs=pacs.peer, listen=listen, **{"patience": 60.0, **more})


def opened(pacs: Orthanc, way: str, **more: Any) -> Archive:
    return open_archive(options_of(pacs, way, **more))


def contents(folder: Path) -> dict[str, pydicom.Dataset]:
    """All objects of a folder by their UID."""
    paths = (folder, *folder.rglob("*"))
    found = [pydicom.dcmread(path) for path in paths if path.is_file()]
    assert len({str(one.SOPInstanceUID) for one in found}) == len(found)
    return {str(one.SOPInstanceUID): one for one in found}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_brings_the_very_objects_that_are_stored(
    pacs: Orthanc, stored: Path, tmp_path: Path, way: str
) -> None:
    numbers = [person(number).accession for number in (1, 2, 3, 30, 31, 32)]
    if not STS.is_dir():
        numbers = numbers[:3]
    steps: list[tuple[int, int, str]] = []
    done = retrieve(
        opened(pacs, way), "accession", numbers, tmp_path, lambda *step: steps.append(step)
    )
    wanted = {
        uid: one
        for uid, one in contents(stored).items()
        if one.AccessionNumber in numbers and one.Modality in ("CT", "RTSTRUCT", "SEG")
    }
    found = contents(tmp_path)
    assert found == wanted
    for uid, one in found.items():
        assert one.file_meta.TransferSyntaxUID == wanted[uid].file_meta.TransferSyntaxUID
        if "PixelData" in one:
            assert one.PixelData == wanted[uid].PixelData
    assert done.is_whole
    assert done.files == len(wanted)
    assert done.several == {person(1).accession: 2}
    assert steps[0] == (0, len(numbers), "searching")
    assert steps[-1] == (len(numbers), len(numbers), "retrieved")


@pytest.mark.parametrize("way", WAYS)
def test_what_is_unknown_doubled_or_without_contour_is_named(
    pacs: Orthanc, tmp_path: Path, way: str
) -> None:
    unknown, bare = "NOSUCHNUMBER", person(4).patient
    done = retrieve(opened(pacs, way), "patient", [unknown, person(1).patient, bare], tmp_path)
    assert done.missing == [unknown]
    assert done.several == {person(1).patient: 2}
    assert done.bare == {bare: "no contour (RTSTRUCT or SEG) in the archive"}
    assert not done.is_whole
    words = "\n".join(done.lines("patient"))
    assert f"unknown to the archive: patient ID {unknown}" in words
    assert f"patient ID {person(1).patient}: 2 studies, all retrieved" in words
    assert f"patient ID {bare}: no contour" in words


@pytest.mark.parametrize("way", WAYS)
def test_a_number_is_asked_for_as_it_is_and_not_as_the_beginning_of_others(
    pacs: Orthanc, tmp_path: Path, way: str
) -> None:
    begin = person(1).accession[:-1]
    assert retrieve(opened(pacs, way), "accession", [begin], tmp_path).missing == [begin]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "what", "remedy"),
    [
        ({"pacs": "WRONG@127.0.0.1:{port}"}, 'does not call itself "WRONG"', "capitals count"),
        ({"pacs": f"{TITLE}@127.0.0.1:1"}, "nothing listens there", "host and port"),
        ({"pacs": f"{TITLE}@pacs.invalid:104"}, "the name is not known", "name server"),
        ({"own_title": "STRANGER"}, "", "docs/pacs.md"),
        ({"tls": True}, "no TLS connection", "check the port"),
    ],
)
def test_a_pacs_that_cannot_be_asked_is_named_with_a_remedy(
    pacs: Orthanc, tmp_path: Path, change: dict[str, Any], what: str, remedy: str
) -> None:
    given = {k: v.format(port=pacs.dicom) if isinstance(v, str) else v for k, v in change.items()}
    options = replace(options_of(pacs, "get"), **given)
    with pytest.raises(ArchiveError) as error:
        retrieve(open_archive(options), "accession", [person(1).accession], tmp_path)
    assert what in error.value.what
    assert remedy in error.value.remedy


def test_a_destination_that_the_pacs_does_not_know_is_named(pacs: Orthanc, tmp_path: Path) -> None:
    """It sends to where it believes this machine to be: nothing comes, and that is said."""
    options = replace(options_of(pacs, "move"), own_title="OTHER")
    done = retrieve(open_archive(options), "accession", [person(2).accession], tmp_path)
    assert done.files == 0
    assert len(done.incomplete) == 2
    assert not done.is_whole


def test_a_port_that_is_taken_is_named(pacs: Orthanc, tmp_path: Path) -> None:
    options = replace(options_of(pacs, "move"), listen=pacs.http)
    with pytest.raises(ArchiveError, match="cannot be opened") as error:
        retrieve(open_archive(options), "accession", [person(2).accession], tmp_path)
    assert "name another port" in error.value.remedy


@dataclass
class Guarded:
    """A PACS that speaks TLS on both ports, and wants a certificate or a password."""

    pacs: Orthanc
    web: str
    root: Path
    port: int

    def options(self, way: str) -> ArchiveOptions:
        """Options with which it answers."""
        if way == "web":
            return ArchiveOptions(
                dicomweb=f"{self.web}/dicom-web",
                authority=self.root / "ca.pem",
                credentials=self.root / "words",
            )
        return ArchiveOptions(
            pacs=self.pacs.peer,
            listen=self.port if way == "move" else 0,
            tls=True,
            authority=self.root / "ca.pem",
            certificate=self.root / "both.pem",
            patience=60.0,
        )


def for_both_ends(authority: Pair) -> Pair:
    """A certificate of this machine that a server shows, and a client."""
    own = x509.load_pem_x509_certificate(authority.certificate)
    signing = load_pem_private_key(authority.key, None)
    assert isinstance(signing, ec.EllipticCurvePrivateKey)
    key, now = ec.generate_private_key(ec.SECP384R1()), datetime.now(UTC)
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    names = [x509.IPAddress(ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")]))
        .issuer_name(own.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .sign(signing, SHA384())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Pair(made.public_bytes(Encoding.PEM), pem)


@pytest.fixture(scope="module")
def guarded(stored: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    root, port = tmp_path_factory.mktemp("guarded"), free_port()
    authority = make_authority("127.0.0.1")
    server = for_both_ends(authority)
    for name, content in (
        ("ca.pem", authority.certificate),
        ("server.pem", server.certificate),
        ("server.key", server.key),
        ("both.pem", server.key + server.certificate),
        ("words", b"anna:s3cret\n"),
    ):
        (root / name).write_bytes(content)
        (root / name).chmod(0o600)
    known = {"us": {"AET": OWN_TITLE, "Host": "127.0.0.1", "Port": port, "UseDicomTls": True}}
    settings = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(root / "server.pem"),
        "DicomTlsPrivateKey": str(root / "server.key"),
        "DicomTlsTrustedCertificates": str(root / "ca.pem"),
    }
    user = ("anna", "s3cret")
    with (
        orthanc(root / "pacs", known, user, **settings) as running,
        over_tls(running, root) as web,
    ):
        running.store(stored / "ct2", stored / "seg2")
        yield Guarded(running, web, root, port)


@pytest.mark.parametrize("way", WAYS)
def test_a_pacs_behind_tls_with_a_certificate_or_a_password_gives_the_same(
    guarded: Guarded, stored: Path, tmp_path: Path, way: str
) -> None:
    archive = open_archive(guarded.options(way))
    done = retrieve(archive, "accession", [person(2).accession], tmp_path)
    assert contents(tmp_path) == contents(stored / "ct2") | contents(stored / "seg2")
    assert done.is_whole


@pytest.mark.parametrize("way", ["get", "web"])
def test_a_pacs_under_another_authority_is_not_asked(
    guarded: Guarded, tmp_path: Path, way: str
) -> None:
    (tmp_path / "other.pem").write_bytes(make_authority("other").certificate)
    options = replace(guarded.options(way), authority=tmp_path / "other.pem")
    with pytest.raises(ArchiveError, match="certificate is not to be trusted") as error:
        open_archive(options).studies("patient", "X")
    assert "--ca" in error.value.remedy


def test_a_wrong_password_of_dicomweb_is_said_without_it(
    guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "words").write_text("anna:wr0ng\n", encoding="utf-8")
    (tmp_path / "words").chmod(0o600)
    options = replace(guarded.options("web"), credentials=tmp_path / "words")
    with pytest.raises(ArchiveError, match="refuses the user and password") as error:
        open_archive(options).studies("patient", "X")
    assert "wr0ng" not in f"{error.value} {error.value.__cause__}"
    without = replace(options, credentials=None)
    with pytest.raises(ArchiveError, match="asks for a user"):
        open_archive(without).studies("patient", "X")
    monkeypatch.setenv("FEDLNM_DICOMWEB", "anna:s3cret")
    assert open_archive(without).studies("patient", "X") == []


def test_the_hospitals_proxy_is_not_on_the_way_to_its_archive(
    pacs: Orthanc, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert len(opened(pacs, "web").studies("patient", person(1).patient)) == 2


def test_an_address_under_which_no_dicomweb_lies_is_named(pacs: Orthanc) -> None:
    options = ArchiveOptions(dicomweb=f"{pacs.url}/elsewhere")
    with pytest.raises(ArchiveError, match="404") as error:
        open_archive(options).studies("patient", "X")
    assert "/studies lies under it" in error.value.remedy
