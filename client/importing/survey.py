"""Survey a folder as a PACS exports it: every file's header, nothing passed over silently."""

from __future__ import annotations

import hashlib
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pydicom
from pydicom.uid import CTImageStorage, RTStructureSetStorage, SegmentationStorage

from client.imaging.dicom.folder import kind_unless_dicom
from client.imaging.dicom.header import (
    conforming,
    is_localizer,
    kind_of,
    read_header,
    sop_class,
)
from client.imaging.dicom.masks import LABEL_MAP_SEGMENTATION_STORAGE
from client.imaging.errors import PatientError

Progress = Callable[[int, int, str], None]

_TAGS = (
    *("PatientID", "AccessionNumber", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
    *("FrameOfReferenceUID", "ImageType", "SeriesNumber", "SeriesDescription", "SliceThickness"),
    *("ConvolutionKernel", "BurnedInAnnotation"),
)
_CONTOUR_TAGS = ("ReferencedFrameOfReferenceSequence", "StructureSetROISequence")
_DRAWN_TAGS = ("ROIContourSequence",)
_LABEL_TAGS = ("StructureSetLabel", "StructureSetDate", "ContentLabel", "ContentDate")
_SEGMENT_TAGS = (
    *("ReferencedSeriesSequence", "SegmentSequence", "SourceImageSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
_MASKS = (RTStructureSetStorage, SegmentationStorage, LABEL_MAP_SEGMENTATION_STORAGE)


@dataclass(frozen=True)
class Stored:
    """One object of the export; texts are those of its header, empty where it has none."""

    path: Path
    kind: str
    patient: str
    accession: str
    study: str
    series: str
    instance: str
    frame: str


@dataclass(frozen=True)
class Contours:
    """An RTSTRUCT or DICOM-SEG, and what it refers to.

    Parameters
    ----------
    is_contours : True for an RTSTRUCT.
    series : Series Instance UIDs that it names.
    instances : SOP Instance UIDs of slices that it names.
    frames : frames of reference that it names.
    rois : names of the ROIs that hold something, by number.
    description : label and date, for this hospital's screen alone.
    """

    stored: Stored
    is_contours: bool
    series: frozenset[str]
    instances: frozenset[str]
    frames: frozenset[str]
    rois: Mapping[int, str]
    description: str = ""


@dataclass(frozen=True)
class Series:
    """One CT series.

    Parameters
    ----------
    description : number, description, kernel and thickness, for this hospital's screen alone.
    burned_in : the header says that text is drawn into its pixels.
    """

    uid: str
    slices: tuple[Stored, ...]
    description: str
    burned_in: bool

    @property
    def patients(self) -> frozenset[str]:
        """Patient IDs of its slices."""
        return frozenset(one.patient for one in self.slices)

    @property
    def frames(self) -> frozenset[str]:
        """Frames of reference of its slices."""
        return frozenset(one.frame for one in self.slices) - {""}


@dataclass(frozen=True)
class Broken:
    """A file that could be part of a patient and cannot be used."""

    path: Path
    what: str


@dataclass
class Survey:
    """Contents of an export.

    Parameters
    ----------
    series : CT series by their UID.
    broken : files that could be slices or contours and are damaged.
    others : files that are not used, by kind.
    copies : files that hold an object again, byte by byte.
    """

    series: dict[str, Series] = field(default_factory=dict)
    contours: list[Contours] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    copies: int = 0

    @property
    def patients(self) -> frozenset[str]:
        """Patient IDs that occur in a CT series or in contours."""
        named = {one.stored.patient for one in self.contours}
        return frozenset(named.union(*(one.patients for one in self.series.values())))


def survey_export(folder: Path, progress: Progress | None = None) -> Survey:
    """Read the headers of all files in a folder and below, whatever their names and nesting.

    Parameters
    ----------
    progress : called with the number of files done, their total, and a word.
    """
    found, slices = Survey(), defaultdict[str, list[_Slice]](list)
    files = list(_files(folder, found))
    seen: dict[str, Path] = {}
    for done, path in enumerate(files, start=1):
        try:
            _sort(path, found, slices, seen)
        except PatientError as error:
            found.broken.append(Broken(path, error.what))
        if progress is not None:
            progress(done, len(files), "headers")
    found.series = {uid: _series(uid, own) for uid, own in slices.items()}
    return found


def _files(folder: Path, found: Survey) -> Iterator[Path]:
    """Yield all files; count links to folders, and name folders that cannot be read."""

    def refuse(error: OSError) -> None:
        where = Path(error.filename)
        found.broken.append(Broken(where, f"a folder that cannot be read: {error.strerror}"))

    for place, names, files in os.walk(folder, onerror=refuse):
        names.sort()
        found.others["linked sub-folder"] += sum((Path(place) / n).is_symlink() for n in names)
        yield from (Path(place) / name for name in sorted(files))
    found.others += Counter()  # without zeros


def _sort(
    path: Path,
    found: Survey,
    slices: dict[str, list[_Slice]],
    seen: dict[str, Path],
) -> None:
    """Put one file where it belongs.

    Raises
    ------
    PatientError : it could be a slice or contours and cannot be read, has no UIDs, or another file
        with other bytes has the same UID.
    """
    other = kind_unless_dicom(path)
    if other is not None:
        found.others[other] += 1
        return
    header = read_header(path, _TAGS)
    kind = kind_of(header)
    localizer = is_localizer(header, path.name)
    is_slice, is_mask = kind == CTImageStorage.name, sop_class(header) in _MASKS
    if localizer or not (is_slice or is_mask):
        found.others[f"localizer ({kind})" if localizer else kind] += 1
        return
    stored = _stored(path, kind, header)
    if not stored.series or not stored.instance:
        raise PatientError(f"{kind} without a UID of its own or of its series", where=path.name)
    twin = seen.setdefault(stored.instance, path)
    if twin != path:
        if _digest(twin) != _digest(path):
            raise PatientError("another file has the same SOP Instance UID", where=path.name)
        found.copies += 1
    elif is_slice:
        slices[stored.series].append(_slice(stored, header))
    else:
        found.contours.append(_contours(stored, header))


def _stored(path: Path, kind: str, header: pydicom.FileDataset) -> Stored:
    def text(tag: str) -> str:
        return str(header.get(tag) or "").strip()

    with conforming(path.name):
        return Stored(
            path,
            kind,
            patient=text("PatientID"),
            accession=text("AccessionNumber"),
            study=text("StudyInstanceUID"),
            series=text("SeriesInstanceUID"),
            instance=text("SOPInstanceUID"),
            frame=text("FrameOfReferenceUID"),
        )


@dataclass(frozen=True)
class _Slice:
    """A CT slice, and the words of its header: the header itself takes ten times as much room."""

    stored: Stored
    words: tuple[str, ...]
    burned_in: bool


def _slice(stored: Stored, header: pydicom.Dataset) -> _Slice:
    with conforming(stored.path.name):
        number, thickness = header.get("SeriesNumber"), header.get("SliceThickness")
        words = (
            "" if number is None else f"number {number}",
            str(header.get("SeriesDescription") or ""),
            str(header.get("ConvolutionKernel") or ""),
            "" if thickness is None else f"{thickness} mm",
        )
        burned_in = str(header.get("BurnedInAnnotation", "")).upper() == "YES"
    return _Slice(stored, tuple(sys.intern(word) for word in words if word), burned_in)


def _series(uid: str, own: list[_Slice]) -> Series:
    words = ", ".join((*own[0].words, f"{len(own)} slices"))
    return Series(uid, tuple(one.stored for one in own), words, any(one.burned_in for one in own))


def _contours(stored: Stored, header: pydicom.FileDataset) -> Contours:
    """Read what an RTSTRUCT or DICOM-SEG refers to."""
    own = sop_class(header) == RTStructureSetStorage
    tags = (*_CONTOUR_TAGS, *_DRAWN_TAGS) if own else _SEGMENT_TAGS
    read = read_header(stored.path, (*tags, *_LABEL_TAGS))
    with conforming(stored.path.name):
        said = (str(read.get(tag) or "") for tag in _LABEL_TAGS)
        made = _of_contours(stored, read) if own else _of_segments(stored, read)
        return replace(made, description=", ".join(part for part in said if part))


def _of_contours(stored: Stored, read: pydicom.Dataset) -> Contours:
    drawn = {
        int(item.ReferencedROINumber): item
        for item in read.get("ROIContourSequence") or ()
        if item.get("ContourSequence")
    }
    defined = read.get("StructureSetROISequence") or ()
    rois = {int(item.ROINumber): str(item.get("ROIName", "")) for item in defined}
    frames = {stored.frame} | {
        str(item.get("ReferencedFrameOfReferenceUID") or "") for item in defined
    }
    series: set[str] = set()
    instances: set[str] = set()
    for frame in read.get("ReferencedFrameOfReferenceSequence") or ():
        frames.add(str(frame.get("FrameOfReferenceUID") or ""))
        for study in frame.get("RTReferencedStudySequence") or ():
            for one in study.get("RTReferencedSeriesSequence") or ():
                series.add(str(one.get("SeriesInstanceUID") or ""))
                instances |= _named(one.get("ContourImageSequence"))
    for item in drawn.values():
        for contour in item.ContourSequence:
            instances |= _named(contour.get("ContourImageSequence"))
    return Contours(
        stored,
        is_contours=True,
        series=frozenset(series - {""}),
        instances=frozenset(instances - {""}),
        frames=frozenset(frames - {""}),
        rois={number: name for number, name in rois.items() if number in drawn},
    )


def _of_segments(stored: Stored, read: pydicom.Dataset) -> Contours:
    series: set[str] = set()
    instances = _named(read.get("SourceImageSequence"))
    for one in read.get("ReferencedSeriesSequence") or ():
        series.add(str(one.get("SeriesInstanceUID") or ""))
        instances |= _named(one.get("ReferencedInstanceSequence"))
    groups = [
        *(read.get("SharedFunctionalGroupsSequence") or ()),
        *(read.get("PerFrameFunctionalGroupsSequence") or ()),
    ]
    for group in groups:
        for derived in group.get("DerivationImageSequence") or ():
            instances |= _named(derived.get("SourceImageSequence"))
    listed = read.get("SegmentSequence") or ()
    return Contours(
        stored,
        is_contours=False,
        series=frozenset(series - {""}),
        instances=frozenset(instances - {""}),
        frames=frozenset({stored.frame} - {""}),
        rois={
            int(item.SegmentNumber): str(item.get("SegmentLabel") or "")
            for item in listed
            if int(item.SegmentNumber) > 0
        },
    )


def _named(items: object) -> set[str]:
    """Return the SOP Instance UIDs that a sequence of references names."""
    listed = items if isinstance(items, pydicom.Sequence) else ()
    return {str(item.get("ReferencedSOPInstanceUID") or "") for item in listed}


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
