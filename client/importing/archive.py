"""Retrieve the studies of a list from the hospital's archive, over DIMSE or DICOMweb.

CT series and their contours (RTSTRUCT, SEG) alone are asked for. They carry names, so that they lie
in a folder for this user alone, which is gone when the import has ended. One that was interrupted
leaves what has come to the next, which then asks only for the rest.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
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
SPOOL = "retrieved"
"""Folder below a site's work folder that holds what an archive sends."""
_KEPT = "CT"
"""Modality whose whole series an interrupted import leaves to the next. Contours are small, and may
have been corrected since: they are asked for again."""
_PART = ".part"
_LONGEST: Mapping[By, int] = {"accession": 16, "patient": 64}
# signs by which an archive takes a text for a pattern or a list (PS3.4, C.2.2.2)
_PATTERN = re.compile(r"[*?\\]|[\x00-\x1f]")
_LONGEST_COUNT = 10
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
    kept : series that an interrupted import had retrieved.
    places : folders of the series that this list asks for, whole or not.
    """

    folder: Path
    files: int = 0
    series: int = 0
    kept: int = 0
    places: set[Path] = field(default_factory=set)
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
        kept = f"; {self.kept} series were there from an interrupted import" if self.kept else ""
        yield f"retrieved: {self.files} files of {self.series} series{kept}"
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
    """Yield the folder for what an archive sends: for this user, and for one import at a time.

    It stays as it is after the block, and goes if it is empty; `empty_spool` removes the rest.

    Raises
    ------
    StudyError : another import is at it.
    """
    folder = work / SPOOL
    open_folder(work)
    open_folder(folder)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _hold(handle, folder)
        try:
            yield folder
        finally:
            with suppress(OSError):
                folder.rmdir()
    finally:
        os.close(handle)


def _hold(handle: int, folder: Path) -> None:
    """Lock a folder, which another import may have removed meanwhile."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_there = os.path.samestat(os.fstat(handle), folder.stat())
    except OSError:
        is_there = False
    if not is_there:
        raise StudyError(
            "another import of this site is retrieving images",
            where=str(folder),
            remedy="wait until it has ended",
        )


def empty_spool(folder: Path) -> int:
    """Remove all that was retrieved, and return the number of files."""
    count = sum(path.is_file() for path in folder.rglob("*"))
    for place in folder.iterdir():
        shutil.rmtree(place)
    return count


def retrieve(
    archive: Archive,
    by: By,
    numbers: Sequence[str],
    folder: Path,
    progress: Progress | None = None,
) -> Retrieved:
    """Retrieve CT series and contours of all studies of a list into a folder.

    A series that breaks off is asked for again, and then passed over and named. A whole CT series
    that an interrupted import has left there is not asked for; what else it has left is removed.

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
    for left in {*folder.iterdir()} - done.places:
        shutil.rmtree(left)
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
    place = done.folder / hashlib.sha256(series.uid.encode()).hexdigest()[:16]
    part = place.with_suffix(_PART)
    if done.places & {place, part}:
        return
    if place.is_dir() and not (series.modality == _KEPT and _count(place) >= series.instances):
        shutil.rmtree(place)
    if place.is_dir():
        done.kept += 1
    else:
        why = _ask(archive, series, part)
        if why:
            done.incomplete[series.uid], place = why, part
        else:
            part.rename(place)
    done.places.add(place)
    done.files, done.series = done.files + _count(place), done.series + 1


def _ask(archive: Archive, series: FoundSeries, folder: Path) -> str:
    """Retrieve a series into a folder, and return why it is not whole; empty if it is."""
    why = ""
    for _ in range(TRIES):
        folder.mkdir(exist_ok=True)
        if shutil.disk_usage(folder).free < LEAST_FREE:
            raise StudyError(
                "less than 1 GB is free, and retrieved images need more",
                where=str(folder.parent),
                remedy="make room there, or retrieve fewer at a time",
            )
        try:
            archive.retrieve(series, folder)
            why = ""
        except SeriesError as error:
            why = error.what
        finally:
            with suppress(OSError):
                folder.rmdir()  # if nothing came
        came = _count(folder)
        if not why and came and came >= series.instances:
            return ""
        why = why or f"{came} of {series.instances} files came"
    return why


def _count(folder: Path) -> int:
    return len(list(folder.glob("*")))


def instances_in(text: str) -> int:
    """Return the number of instances that an archive says it has; 0 where it is none.

    >>> instances_in("64"), instances_in(""), instances_in("many")
    (64, 0, 0)
    """
    return int(text) if text.isascii() and text.isdecimal() and len(text) < _LONGEST_COUNT else 0


def instance_file(folder: Path, uid: str) -> Path:
    """Return the file of an instance, whatever its UID is made of.

    >>> instance_file(Path("ct"), "1.2.3").name
    '1.2.3.dcm'
    """
    name = uid if _UID.fullmatch(uid) else hashlib.sha256(uid.encode()).hexdigest()
    return folder / f"{name}.dcm"
