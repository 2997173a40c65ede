"""Retrieve the studies of a list from the hospital's archive, over DIMSE or DICOMweb.

CT series and their contours (RTSTRUCT, SEG) alone are asked for. They carry names, so that they lie
in a folder for this user alone, which is gone when the import ends, however it ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from common.errors import InputError, StudyError
from common.utils.durable import open_folder
from common.utils.text_file import read_written

By = Literal["accession", "patient"]
TAG: Mapping[By, str] = {"accession": "AccessionNumber", "patient": "PatientID"}
WORDS: Mapping[By, str] = {"accession": "accession number", "patient": "patient ID"}
MODALITIES = ("CT", "RTSTRUCT", "SEG")
"""Modalities that are asked for; everything else of a study stays in the archive."""
TRIES = 3
"""Times that a series is asked for where the archive breaks off."""
LEAST_FREE = 2**30
"""Bytes that stay free on the disk."""
SPOOL = "retrieved-"
_LONGEST: Mapping[By, int] = {"accession": 16, "patient": 64}
# signs by which an archive takes a text for a pattern or a list (PS3.4, C.2.2.2)
_PATTERN = re.compile(r"[*?\\]|[\x00-\x1f]")
_UID = re.compile(r"[0-9.]{1,64}")
Progress = Callable[[int, int, str], None]


class ArchiveError(StudyError):
    """The archive does not answer, or refuses."""


class SeriesError(ArchiveError):
    """One series broke off; others may come."""


@dataclass(frozen=True)
class FoundStudy:
    """Study that the archive has under a number."""

    uid: str
    patient: str
    accession: str


@dataclass(frozen=True)
class FoundSeries:
    """Series of such a study.

    Parameters
    ----------
    instances : that the archive says it has; 0 = it does not say.
    """

    study: str
    uid: str
    modality: str
    instances: int = 0


class Archive(Protocol):
    """Archive that can be searched and retrieved from."""

    def echo(self) -> str:
        """Return in words that it answers, and what it offers."""

    def studies(self, by: By, number: str) -> list[FoundStudy]:
        """Return the studies that the archive has under a number."""

    def series(self, study: str) -> list[FoundSeries]:
        """Return the series of a study."""

    def retrieve(self, series: FoundSeries, folder: Path) -> None:
        """Write the instances of a series into a folder, one a file.

        Raises
        ------
        SeriesError : the archive breaks off; what has come by then is in the folder.
        """


@dataclass
class Retrieved:
    """Result of a retrieval, for the hospital's own screen alone.

    Parameters
    ----------
    missing : numbers that the archive does not know.
    several : numbers with more than one study, and how many.
    bare : numbers whose studies hold no CT, or no contour.
    incomplete : series that did not come whole, with the reason.
    """

    folder: Path
    files: int = 0
    series: int = 0
    missing: list[str] = field(default_factory=list)
    several: dict[str, int] = field(default_factory=dict)
    bare: dict[str, str] = field(default_factory=dict)
    incomplete: dict[str, str] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """True if every number gave what was asked for."""
        return not (self.missing or self.bare or self.incomplete)

    def lines(self, by: By) -> Iterator[str]:
        """Yield what came and what did not, in words."""
        yield f"retrieved: {self.files} files of {self.series} series"
        name = WORDS[by]
        if self.missing:
            yield f"unknown to the archive: {name} {', '.join(self.missing)}"
        for number, count in self.several.items():
            yield f"{name} {number}: {count} studies, all retrieved"
        for number, what in self.bare.items():
            yield f"{name} {number}: {what}"
        for series, why in self.incomplete.items():
            yield f"not whole: series {series}: {why}"


def read_numbers(path: Path, by: By) -> list[str]:
    """Read a list of accession numbers or patient IDs, one a line; # begins a comment.

    Raises
    ------
    InputError : it is empty, or a line cannot be a number.
    """
    lines = (line.strip() for line in read_written(path).splitlines())
    return checked_numbers([x for x in lines if x and not x.startswith("#")], by, str(path))


def checked_numbers(numbers: Sequence[str], by: By, where: str) -> list[str]:
    """Return each number once, in order.

    Raises
    ------
    InputError : there is none, or one of them is a pattern to the archive, or too long.
    """
    found = list(dict.fromkeys(number.strip() for number in numbers if number.strip()))
    for position, number in enumerate(found, start=1):
        if _PATTERN.search(number) or len(number) > _LONGEST[by]:
            raise InputError(
                f"entry {position} is no {WORDS[by]}: an archive takes *, ? and \\ for patterns,"
                f" and it has at most {_LONGEST[by]} signs",
                where=where,
                remedy=f"write one {WORDS[by]} a line, as the archive has it",
            )
    if not found:
        raise InputError(f"no {WORDS[by]} in it", where=where, remedy="write one a line")
    return found


@contextmanager
def spool(work: Path) -> Iterator[Path]:
    """Yield a folder for this user alone, which is gone afterwards, also after an interruption.

    What a killed import has left is removed first.
    """
    open_folder(work)
    for old in sorted(work.glob(f"{SPOOL}*.lock")):
        with suppress(OSError), old.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(old.with_suffix(""))
            old.unlink()
    folder = Path(tempfile.mkdtemp(prefix=SPOOL, dir=work))
    guard = folder.with_name(f"{folder.name}.lock")
    with guard.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            _remove(folder)
            guard.unlink()


def _remove(folder: Path) -> None:
    """Remove a folder with files of persons; say so where that fails."""
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)


def retrieve(
    archive: Archive,
    by: By,
    numbers: Sequence[str],
    folder: Path,
    progress: Progress | None = None,
) -> Retrieved:
    """Retrieve CT series and contours of all studies of a list into a folder.

    A series that breaks off is asked for again, and then passed over and named.

    Parameters
    ----------
    progress : called with the numbers done, their total, and a word.

    Raises
    ------
    ArchiveError : the archive cannot be reached, or does not let this machine in.
    StudyError : the disk is nearly full.
    """
    done = Retrieved(folder)
    for place, number in enumerate(numbers):

        def said(word: str, place: int = place) -> None:
            if progress is not None:
                progress(place, len(numbers), word)

        said("searching")
        wanted = _wanted(archive, by, number, done)
        for series in wanted:
            said(f"{series.modality}, {series.instances or '?'} files")
            _fetch(archive, series, done)
    if progress is not None:
        progress(len(numbers), len(numbers), "retrieved")
    return done


def _wanted(archive: Archive, by: By, number: str, done: Retrieved) -> list[FoundSeries]:
    """Return the series to retrieve for a number, and note what is odd about it."""
    answered = archive.studies(by, number)
    studies = [one for one in answered if getattr(one, by) == number]
    if answered and not studies:
        raise ArchiveError(
            f"it answers with other studies than those of the {WORDS[by]} that was asked for",
            where="archive",
            remedy=f"it may not search by {WORDS[by]}: ask its team, or use the other kind of list",
        )
    uids = list(dict.fromkeys(one.uid for one in studies))
    if not uids:
        done.missing.append(number)
        return []
    if len(uids) > 1:
        done.several[number] = len(uids)
    found = [one for uid in uids for one in archive.series(uid) if one.modality in MODALITIES]
    kinds = {one.modality for one in found}
    if "CT" not in kinds:
        done.bare[number] = "no CT series"
    elif kinds == {"CT"}:
        done.bare[number] = "no contour (RTSTRUCT or SEG) in the archive"
    return found


def _fetch(archive: Archive, series: FoundSeries, done: Retrieved) -> None:
    """Retrieve one series, again where it breaks off; one that is there already is not repeated."""
    folder = done.folder / hashlib.sha256(series.uid.encode()).hexdigest()[:16]
    if folder.exists():
        return
    folder.mkdir()
    why = ""
    for _ in range(TRIES):
        if shutil.disk_usage(folder).free < LEAST_FREE:
            raise StudyError(
                "less than 1 GB is free, and retrieved images need more",
                where=str(done.folder.parent),
                remedy="make room there, or retrieve fewer at a time",
            )
        try:
            archive.retrieve(series, folder)
            why = ""
        except SeriesError as error:
            why = error.what
        came = len(list(folder.iterdir()))
        if not why and came and came >= series.instances:
            break
        why = why or f"{came} of {series.instances} files came"
    if why:
        done.incomplete[series.uid] = why
    done.files, done.series = done.files + len(list(folder.iterdir())), done.series + 1


def instance_file(folder: Path, uid: str) -> Path:
    """Return the file of an instance, whatever its UID is made of.

    >>> instance_file(Path("ct"), "1.2.3").name
    '1.2.3.dcm'
    """
    name = uid if _UID.fullmatch(uid) else hashlib.sha256(uid.encode()).hexdigest()
    return folder / f"{name}.dcm"
