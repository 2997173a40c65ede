"""Read the folder of a CT series: its slices, and everything else in it.

A file that could be a slice is read or refused. All other files are counted by kind, so that
nothing is skipped silently.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pydicom
from pydicom.uid import CTImageStorage

from client.imaging.dicom.alike import ALIKE_TAGS
from client.imaging.dicom.header import is_localizer, kind_of, read_header
from client.imaging.dicom.pixels import PIXEL_TAGS
from client.imaging.errors import PatientError
from client.imaging.source import DICOM_ENDINGS, begins_as_dicom

_TAGS: tuple[str | int, ...] = (
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "PatientID",
    "SpacingBetweenSlices",
    "FrameOfReferenceUID",
    "Modality",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "InstanceNumber",
    "ImagesInAcquisition",
    "NumberOfSeriesRelatedInstances",
    *ALIKE_TAGS,
    *PIXEL_TAGS,
)
_SYSTEM_FILES = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", ".ds_store", ".directory", "dicomdir", "lockfile"}
)
_ARCHIVES = frozenset({".zip", ".gz", ".tgz", ".tar", ".7z", ".rar", ".bz2", ".xz"})
_RESOURCE_FORK = b"\x00\x05\x16\x07"
_GZIP = b"\x1f\x8b"
_START = 1024
_PRINTED = bytes({9, 10, 12, 13, 27, *range(32, 127), *range(128, 256)})
_NUMBER = re.compile(r"\d")
_WIDE_TEXT = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Found:
    """DICOM file; `folder` is the name of its sub-folder, empty where in none."""

    path: Path
    header: pydicom.FileDataset
    folder: str = ""

    @property
    def series(self) -> str:
        """Series Instance UID; empty where it has none."""
        return str(self.header.get("SeriesInstanceUID") or "")

    @property
    def localizer(self) -> bool:
        """True for an overview on which the slices were planned."""
        return is_localizer(self.header, self.path.name)

    @property
    def kind(self) -> str:
        """Kind of object in the standard's words."""
        kind = kind_of(self.header)
        return f"localizer ({kind})" if self.localizer else kind

    @property
    def is_slice(self) -> bool:
        """True for a CT image that is no localizer."""
        return kind_of(self.header) == CTImageStorage.name and not self.localizer


@dataclass
class Contents:
    """Contents of a folder.

    Parameters
    ----------
    slices : CT slices in the folder itself, by series.
    strays : all other DICOM files, and those in sub-folders.
    others : files that are not DICOM, by kind.
    """

    slices: dict[str, list[Found]] = field(default_factory=dict)
    strays: list[Found] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


def read_file(path: Path) -> Found:
    """Read the header of one DICOM file.

    Raises
    ------
    PatientError : not DICOM, damaged, or a CT slice that does not name its series.
    """
    found = Found(path, read_header(path, _TAGS))
    if found.is_slice and not found.series:
        raise PatientError(
            "a CT slice has no SeriesInstanceUID",
            where=path.name,
            remedy="export the original series from the scanner or the archive",
        )
    return found


def read_folder(folder: Path) -> Contents:
    """Read the headers of all DICOM files in a folder and below, and count all other files.

    Raises
    ------
    PatientError : a file that could be a slice cannot be used: empty, damaged, not readable,
        compressed, a link that leads nowhere.
    """
    contents = Contents()
    slices: dict[str, list[Found]] = defaultdict(list)
    rest: list[tuple[Path, str, bytes | None]] = []
    for path, below in _files(folder, contents):
        start = _start(path)
        if start is not None and _may_be_dicom(path, start):
            one = read_file(path)
            found = Found(path, one.header, below)
            if found.is_slice and not below:
                slices[found.series].append(found)
            else:
                contents.strays.append(found)
        else:
            rest.append((path, below, start))
    contents.slices = dict(slices)
    endings = {one.path.suffix.lower() for series in slices.values() for one in series}
    for path, below, start in rest:
        kind = _kind_of_other(path, start, endings)
        contents.others[f"{kind} in a sub-folder" if below else kind] += 1
    return contents


def kind_unless_dicom(path: Path) -> str | None:
    """Return the kind of a file of an export that is not DICOM, or None if it is to be read.

    Raises
    ------
    PatientError : as `read_folder`, for a file that could be a slice and cannot be one.
    """
    start = _start(path)
    if start is not None and _may_be_dicom(path, start):
        return None
    return _kind_of_other(path, start, frozenset())


def worth_a_look(kind: str) -> bool:
    """Return whether skipped files of this kind could hold slices."""
    return kind.startswith(("CT slice", "archive", "linked"))


def _files(folder: Path, contents: Contents) -> Iterator[tuple[Path, str]]:
    """Yield all files, each with the name of its sub-folder; count links to folders."""
    for place, names, files in os.walk(folder, onerror=_refuse_folder):
        here = Path(place)
        names.sort()
        links = sum((here / name).is_symlink() for name in names)
        if links:
            contents.others["linked sub-folder"] += links
        below = "" if here == folder else here.relative_to(folder).parts[0]
        yield from ((here / name, below) for name in sorted(files))


def _refuse_folder(error: OSError) -> None:
    name = Path(error.filename).name
    raise PatientError(
        f"a folder that cannot be read: {error.strerror}", where=name, remedy="check its rights"
    )


def _start(path: Path) -> bytes | None:
    """Read the first bytes of a file; None where it is none, or cannot be read."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return file.read(_START)
    except OSError:
        return None


def _may_be_dicom(path: Path, start: bytes) -> bool:
    if start.startswith(_RESOURCE_FORK):
        return False
    named = path.suffix.lower() in DICOM_ENDINGS
    return bool(start) and (begins_as_dicom(start) or named)


def _kind_of_other(path: Path, start: bytes | None, endings: Set[str]) -> str:
    """Name the kind of a file that is not DICOM.

    Raises
    ------
    PatientError : it could be a slice.
    """
    name, ending = path.name.lower(), path.suffix.lower()
    if name in _SYSTEM_FILES or (start or b"").startswith(_RESOURCE_FORK):
        return "system file"
    if start is not None and start.startswith(_GZIP) and begins_as_dicom(_unpacked(path)):
        _refuse(path, "a DICOM file compressed by gzip", "unpack it (gunzip)")
    could_be = _could_be_slice(path, endings)
    if not start:
        what = _without_content(path, start)
        if could_be:
            _refuse(path, f"{what}: it could be a slice", "copy or export it again, or delete it")
        return what
    text = start.startswith(_WIDE_TEXT) or not start.translate(None, _PRINTED)
    # a web page or an LFS pointer may have replaced a slice, but no README is one
    numbered = not ending.strip(".0123456789") and bool(_NUMBER.search(name))
    if text and not numbered and (not ending or ending not in endings):
        return f"{ending or 'text'} file"
    if could_be:
        what = "not a DICOM file, though by its name it could be a slice"
        _refuse(path, what, "copy or export it again, or delete it")
    archive = ending in _ARCHIVES and not name.endswith(".nii.gz")
    return f"archive ({ending})" if archive else f"{ending} file"


def _without_content(path: Path, start: bytes | None) -> str:
    if start is not None:
        return "an empty file"
    if path.is_symlink() and not path.exists():
        return "a link that leads nowhere"
    return "a file that cannot be read"


def _could_be_slice(path: Path, endings: Set[str]) -> bool:
    """Guess from the name of a file: no ending, a number as in UIDs, that of DICOM or of slices."""
    every = {ending.lower() for ending in path.suffixes}
    if every & DICOM_ENDINGS:
        return True
    if path.name.startswith("."):
        return False
    ending = path.suffix.lower()
    return not ending or ending[1:].isdigit() or ending in endings


def _unpacked(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") as file:
            return file.read(_START)
    except (OSError, EOFError, zlib.error):
        return b""


def _refuse(path: Path, what: str, remedy: str) -> NoReturn:
    raise PatientError(what, where=path.name, remedy=remedy)


def listed(kinds: Sequence[str]) -> str:
    """Count each kind ("2 x CT Image Storage, 1 x localizer")."""
    return ", ".join(f"{n} x {kind}" for kind, n in sorted(Counter(kinds).items()))
