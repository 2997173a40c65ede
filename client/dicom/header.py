"""Headers of DICOM files, as little of them as is needed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pydicom
from pydicom.uid import UID

from client.imaging.errors import PatientError
from common.errors import StudyError


def read_header(path: Path, tags: Sequence[str]) -> pydicom.FileDataset:
    """The elements named in `tags`, as far as they are there; no other is kept.

    Raises
    ------
    PatientError : not DICOM, or damaged: an object that does not say what it is, or not as the
        file's preface does, was cut short.
    """
    with conforming(path.name):
        wanted = ["SOPClassUID", *tags]
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=wanted)
        announced = header.file_meta.get("MediaStorageSOPClassUID")
        if not sop_class(header) or announced not in (None, sop_class(header)):
            raise EOFError
        return header


def sop_class(header: pydicom.FileDataset) -> UID:
    """UID of the kind of object; a DICOMDIR has it in the file's preface alone."""
    own = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID", "")
    return UID(str(own))


def kind_of(header: pydicom.FileDataset) -> str:
    """The kind of object in the standard's words ("CT Image Storage")."""
    uid = sop_class(header)
    return uid.name if uid.name != uid else "an object of unknown kind"


@contextmanager
def conforming(where: str) -> Iterator[None]:
    """One plain error for all that a library raises on a file that breaks the standard.

    Its own words and warnings are kept back: they may quote the header.

    Raises
    ------
    PatientError : anything but a StudyError or a lack of memory was raised inside.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (StudyError, MemoryError):
        raise
    except Exception as error:
        raise PatientError(
            f"not a DICOM file, damaged, or against the standard ({type(error).__name__})",
            where=where,
            remedy="export the file again, uncompressed",
        ) from None
