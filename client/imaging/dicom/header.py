"""Minimal reading of DICOM headers."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, MediaStorageDirectoryStorage

from client.imaging.errors import PatientError
from client.imaging.source import DICOM_START, begins_with_data_set, has_preamble
from common.errors import StudyError
from common.utils.bounded import MIB, in_words, inflates_within

_SERIES, _FRAME, _INSTANCES = "0020|000e", "0020|0052", "0008|0018"
_UNDEFINED_LENGTH = 0xFFFFFFFF
_ITEMS = 0xFFFE
"""Group of the marks between the items of a sequence (PS3.5, 7.5)."""
_DICOMDIR = MediaStorageDirectoryStorage


LARGEST_DEFLATED = 256 * MIB
"""Bytes of a deflated file's data set; a slice of 4096 x 4096 has 32 MiB."""


@dataclass(frozen=True)
class SeriesIdentity:
    """UIDs of a series.

    Parameters
    ----------
    series : Series Instance UID.
    frame_of_reference : empty where the series has none.
    instances : SOP Instance UIDs, in the order of the volume's slices.
    """

    series: str
    frame_of_reference: str
    instances: tuple[str, ...]

    def attach(self, image: sitk.Image) -> None:
        """Note the identity in the volume; most filters of ITK drop it again."""
        image.SetMetaData(_SERIES, self.series)
        image.SetMetaData(_FRAME, self.frame_of_reference)
        image.SetMetaData(_INSTANCES, "\\".join(self.instances))

    @staticmethod
    def of(image: sitk.Image, where: str) -> SeriesIdentity:
        """Return the identity that `attach` noted; PatientError about the mask `where` if none."""
        if not image.HasMetaDataKey(_SERIES):
            raise PatientError(
                "a DICOM mask, but the image is not the DICOM series that it was drawn on",
                where=where,
                remedy="give the folder of that CT series as image, or both as volumes",
            )
        return SeriesIdentity(
            image.GetMetaData(_SERIES),
            image.GetMetaData(_FRAME),
            tuple(image.GetMetaData(_INSTANCES).split("\\")),
        )


EXPORT_AGAIN = "export the original series from the scanner or the archive"


def read_header(path: Path, tags: Sequence[str | int]) -> pydicom.FileDataset:
    """Read the elements named in `tags`, as far as they exist; no other is kept.

    Raises
    ------
    PatientError : not DICOM, or damaged: truncated, or without an object class that agrees with the
        file's preface.
    """
    with conforming(path.name):
        header = read_elements(path, ["SOPClassUID", *tags], pixels=False)
        if any(_is_cut_short(header, tag) for tag in header.keys()):  # noqa: SIM118
            raise EOFError
        _check_items(header)
        announced = header.file_meta.get("MediaStorageSOPClassUID")
        own = header.get("SOPClassUID") or (announced if announced == _DICOMDIR else None)
        if not own or announced not in (None, own):
            raise EOFError
        return header


def _is_cut_short(header: pydicom.Dataset, tag: BaseTag) -> bool:
    """Return whether the file ends within an element, of which pydicom keeps the rest silently."""
    element = header.get_item(tag)
    if not isinstance(element, RawDataElement) or element.value is None:
        return False
    return element.length != _UNDEFINED_LENGTH and len(element.value) < element.length


def _check_items(read: pydicom.Dataset) -> None:
    """Raise EOFError where an item of a sequence reaches into the next one.

    Of a damaged length, pydicom takes the elements of both for one item, and the later ones win.
    """
    for tag in read.keys():  # noqa: SIM118 - iterating decodes values
        if tag.group == _ITEMS:
            raise EOFError
        element = read.get_item(tag)
        known = element.VR if element is not None else None
        if (known or (dictionary_VR(tag) if dictionary_has_tag(tag) else "")) == "SQ":
            for item in read[tag].value or ():
                _check_items(item)


def read_elements(path: Path, tags: Sequence[str | int], *, pixels: bool) -> pydicom.FileDataset:
    """Read elements of a DICOM file that has a preamble or begins with its data set.

    Raises
    ------
    PatientError : deflated data that unpack to more than `LARGEST_DEFLATED`.
    Exception : any error of pydicom on a file that is not DICOM; see `conforming`.
    """
    with path.open("rb") as file:
        start = file.read(DICOM_START)
    bare = not has_preamble(start) and begins_with_data_set(start)
    with _Bounded(path) as file:
        return pydicom.dcmread(
            file,
            stop_before_pixels=not pixels,
            specific_tags=[Tag(tag) for tag in tags],
            force=bare,
        )


def read_whole(path: Path) -> pydicom.FileDataset:
    """Read all elements of a DICOM file; errors as `read_elements`."""
    with _Bounded(path) as file:
        read = pydicom.dcmread(file)
    _check_items(read)
    return read


class _Bounded(io.BufferedReader):
    """DICOM file for pydicom, which unpacks a deflated one without any limit.

    pydicom asks for all that is left of a file in one case only: to unpack it (PS3.5, A.5).
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes; check all that are left if they are asked for."""
        data = super().read(size)
        if (size is None or size < 0) and not inflates_within(data, LARGEST_DEFLATED):
            raise PatientError(
                f"deflated data that unpack to more than {in_words(LARGEST_DEFLATED)}",
                where=Path(str(self.name)).name,
                remedy="export the file again, uncompressed",
            )
        return data


def numbers(header: pydicom.Dataset, tag: str, count: int, where: str) -> tuple[float, ...]:
    """Return the values of an element that must hold `count` finite numbers.

    Raises
    ------
    PatientError : the element is missing or empty, holds another number of values, or something
        that is not a number. The message never quotes a value.
    """
    written = header.get_item(tag)
    if written is None or written.value in (None, "", b""):
        raise PatientError(f"a CT slice has no {tag}", where=where, remedy=EXPORT_AGAIN)
    comma = isinstance(written.value, bytes) and b"," in written.value
    try:
        with conforming(where):
            value = header[tag].value
            several = value if isinstance(value, Sequence) and not isinstance(value, str) else None
            found = tuple(float(v) for v in ([value] if several is None else several))
    except PatientError:
        found = (math.nan,)
    if not all(math.isfinite(v) for v in found):
        hint = ": it has a decimal comma, where DICOM has a point" if comma else ""
        raise PatientError(f"{tag} is not a number{hint}", where=where, remedy=EXPORT_AGAIN)
    if len(found) != count:
        what = f"{tag} holds {len(found)} values instead of {count}"
        raise PatientError(what, where=where, remedy=EXPORT_AGAIN)
    return found


def sop_class(header: pydicom.FileDataset) -> UID:
    """Return the UID of the kind of object; a DICOMDIR has it in the file's preface alone."""
    own = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID", "")
    return UID(str(own))


def kind_of(header: pydicom.FileDataset) -> str:
    """Return the kind of object in the standard's words ("CT Image Storage")."""
    uid = sop_class(header)
    return uid.name if uid.name != uid else "an object of unknown kind"


def is_localizer(header: pydicom.Dataset, where: str) -> bool:
    """Return whether an image is an overview on which slices were planned.

    Raises
    ------
    PatientError : its Image Type is no text.
    """
    with conforming(where):
        return "LOCALIZER" in (header.get("ImageType") or ())


@contextmanager
def conforming(where: str) -> Iterator[None]:
    """Turn every error of a library on a non-conforming file into one plain error.

    Its own messages and warnings are suppressed: they may quote the header.

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
