"""Header fields of images and contours that tell of a person: their names, never their values."""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by

from client.check.identifiers import naming_column, plain_id, reasons
from client.dicom.header import read_header
from client.imaging.errors import PatientError
from client.imaging.source import is_dicom, split_roi

# may hold a pseudonym once identity is removed
PSEUDONYMS = ("PatientName", "PatientID", "AccessionNumber")
# of the Basic Application Level Confidentiality Profile (PS3.15, table E.1-1), what names a person
DIRECT = (
    "PatientBirthDate",
    "PatientBirthName",
    "PatientMotherBirthName",
    "OtherPatientNames",
    "OtherPatientIDs",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "PatientComments",
    "ResponsiblePerson",
    "ReferringPhysicianName",
)
_MARKS = ("PatientIdentityRemoved", "BurnedInAnnotation")
_REMOVED = re.compile(
    r"(?:anon\w*|de-?ident\w*|removed|none|unknown|patient|x+|0+)[\W\d_]*", re.IGNORECASE
)
IDENTIFIER, BURNED_IN = "a field for a person's data", "says that a name is drawn into the image"
# offset and bytes of the text fields of a NIfTI-1 header (nifti1.h), and where extensions begin
_NIFTI_TEXTS = {
    "db_name": (14, 18),
    "descrip": (148, 80),
    "aux_file": (228, 24),
    "intent_name": (328, 16),
}
# what ITK itself notes of a file it reads
_OF_ITK = ("ITK_", "NRRD_")
_NIFTI_EXTENSION = 348
_NIFTI_DICOM = 2
_START = 1 << 16


def identifying_fields(path: Path, pseudonym: str) -> dict[str, str]:
    """Names of fields, and why; empty where there are none, or the file cannot be read.

    Parameters
    ----------
    path : as cohort.csv has it: a volume, a folder of a DICOM series, a DICOM file.
    pseudonym : of the patient, which may stand where name and number stood.
    """
    file, _ = split_roi(path)
    if file.is_dir():
        found: dict[str, str] = {}
        for inside in sorted(p for p in file.iterdir() if p.is_file()):
            found |= _dicom(inside, pseudonym)
        return found
    if is_dicom(file):
        return _dicom(file, pseudonym)
    if file.name.lower().endswith((".nii", ".nii.gz")):
        return dict(_nifti(file, pseudonym))
    return dict(_texts(file, pseudonym))


def _dicom(path: Path, pseudonym: str) -> dict[str, str]:
    try:
        header = read_header(path, (*PSEUDONYMS, *DIRECT, *_MARKS))
    except PatientError:
        return {}  # whoever reads the image will say so
    found = {tag: IDENTIFIER for tag in DIRECT if str(header.get(tag) or "").strip()}
    removed = str(header.get("PatientIdentityRemoved", "")).strip().upper() == "YES"
    for tag in PSEUDONYMS:
        value = str(header.get(tag) or "").strip(" ^")
        if value and not removed and not _REMOVED.fullmatch(value) and not _same(value, pseudonym):
            found[tag] = IDENTIFIER
    if str(header.get("BurnedInAnnotation", "")).strip().upper() == "YES":
        found["BurnedInAnnotation"] = BURNED_IN
    return found


def _nifti(path: Path, pseudonym: str) -> Iterator[tuple[str, str]]:
    start = _first_bytes(path)
    for name, (offset, size) in _NIFTI_TEXTS.items():
        text = start[offset : offset + size].split(b"\0")[0].decode("latin-1").strip()
        yield from _told(name, text, pseudonym)
    if len(start) > _NIFTI_EXTENSION + 12 and start[_NIFTI_EXTENSION]:
        order = "<" if struct.unpack_from("<i", start)[0] == _NIFTI_EXTENSION else ">"
        size, code = struct.unpack_from(f"{order}2i", start, _NIFTI_EXTENSION + 4)
        content = start[_NIFTI_EXTENSION + 12 : _NIFTI_EXTENSION + 4 + max(size, 8)]
        if code == _NIFTI_DICOM:
            yield "extension", "a DICOM header"
        else:
            yield from _told("extension", content.decode("latin-1").strip("\0 "), pseudonym)


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            return file.read(_START)
    except (OSError, EOFError, zlib.error):
        return b""


def _texts(path: Path, pseudonym: str) -> Iterator[tuple[str, str]]:
    """Key and value pairs of NRRD and MetaImage files."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return  # whoever reads the image will say so
    for key in reader.GetMetaDataKeys():
        value = str(reader.GetMetaData(key)).strip()
        if key.startswith(_OF_ITK):
            continue
        if (
            value
            and not _same(value, pseudonym)
            and (key.startswith("0010|") or naming_column(key))
        ):
            yield key, IDENTIFIER
        else:
            yield from _told(key, value, pseudonym)


def _told(name: str, text: str, pseudonym: str) -> Iterator[tuple[str, str]]:
    found = reasons(text) if not _same(text, pseudonym) else ()
    if found:
        yield name, " and ".join(found)


def _same(text: str, pseudonym: str) -> bool:
    return plain_id(text) == plain_id(pseudonym)
