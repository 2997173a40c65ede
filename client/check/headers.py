"""Header fields of images and contours that tell of a person: their names, never their values."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from client.check.identifiers import naming_column, plain_id, reasons
from client.imaging.dicom.header import read_header
from client.imaging.errors import PatientError
from client.imaging.headers import metaimage, nrrd
from client.imaging.source import is_dicom, split_roi
from client.imaging.volumes import ending, first_bytes

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
# offset and bytes of the text fields of a header, by its length (nifti1.h, nifti2.h)
_NIFTI_TEXTS = {
    348: {
        "db_name": (14, 18),
        "descrip": (148, 80),
        "aux_file": (228, 24),
        "intent_name": (328, 16),
    },
    540: {"descrip": (240, 80), "aux_file": (320, 24), "intent_name": (508, 16)},
}
_NIFTI_DICOM = 2


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
    kind = ending(file)
    if kind in (".nii", ".nii.gz"):
        return dict(_nifti(file, pseudonym))
    if kind:
        pairs = nrrd.pairs if kind == ".nrrd" else metaimage.pairs
        return dict(_texts(pairs(first_bytes(file)), pseudonym))
    return {}


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
    start = first_bytes(path)
    order, length = _nifti_layout(start)
    for name, (offset, size) in _NIFTI_TEXTS.get(length, {}).items():
        text = start[offset : offset + size].split(b"\0")[0].decode("latin-1").strip()
        yield from _told(name, text, pseudonym)
    if length and len(start) > length + 12 and start[length]:
        size, code = struct.unpack_from(f"{order}2i", start, length + 4)
        content = start[length + 12 : length + 4 + max(size, 8)]
        if code == _NIFTI_DICOM:
            yield "extension", "a DICOM header"
        else:
            yield from _told("extension", content.decode("latin-1").strip("\0 "), pseudonym)


def _nifti_layout(start: bytes) -> tuple[str, int]:
    """Return byte order and length of the header; 0 where it is none."""
    for order in "<>":
        if len(start) >= 4 and struct.unpack_from(f"{order}i", start)[0] in _NIFTI_TEXTS:
            return order, struct.unpack_from(f"{order}i", start)[0]
    return "<", 0


def _texts(pairs: Mapping[str, str], pseudonym: str) -> Iterator[tuple[str, str]]:
    """Look through pairs of key and value of NRRD and MetaImage files."""
    for key, value in pairs.items():
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
