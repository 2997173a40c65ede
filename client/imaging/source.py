"""Interpret a path in cohort.csv: a file, a folder, or one ROI of a file."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from common.utils.durable import make_folder


class KnownFiles:
    """JSON file of answers, by a hash of paths, sizes and times; it reveals no path.

    Parameters
    ----------
    path : the file, made by `save`, readable by its owner only.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _read(path)
        self._new: dict[str, str] = {}

    def ask(self, about: str, files: list[Path], find_out: Callable[[], str]) -> str:
        """Return what is known of these files in their present state, or find it out.

        Parameters
        ----------
        about : the question, as others may be asked of the same files.

        Raises
        ------
        OSError : a missing file; and any error of `find_out`.
        """
        seen = hashlib.sha256(about.encode())
        for file in files:
            status = file.stat()
            times = f"{status.st_mtime_ns}|{status.st_ctime_ns}"
            seen.update(f"\n{file.absolute()}|{status.st_size}|{times}".encode())
        name = seen.hexdigest()
        answer = self._new.get(name) or self._known.get(name)
        if answer is None:
            answer = find_out()
            self._new[name] = answer
        return answer

    def save(self) -> None:
        """Merge new answers into the file, beside those of other processes."""
        if not self._new:
            return
        self._known = _read(self._path) | self._known | self._new
        self._new = {}
        make_folder(self._path.parent)
        handle, part = tempfile.mkstemp(dir=self._path.parent, prefix=".part-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(self._known, file)
        Path(part).replace(self._path)


def _read(path: Path) -> dict[str, str]:
    """Read the answers; none from a missing or unreadable file, which are then found out anew."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {str(name): str(answer) for name, answer in known.items()}


DICOM_ENDINGS = frozenset({".dcm", ".dicom", ".dic", ".ima"})
DICOM_START = 132
"""Bytes that decide whether a file is DICOM."""

_MAGIC = b"DICM"
_FIRST_GROUPS = (2, 8)
_FIRST_ELEMENTS = 0x100
_LONGEST_FIRST = 256


def split_roi(path: Path) -> tuple[Path, str | None]:
    """Split a file from the ROI wanted of it, where one is named: `rtstruct.dcm#GTV`.

    A "#" in the name of a file that exists is part of that name.
    """
    if path.exists():
        return path, None
    text = str(path)
    for at, letter in enumerate(text):
        if letter == "#" and Path(text[:at]).is_file():
            return Path(text[:at]), text[at + 1 :].strip()
    return path, None


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM, by its first bytes or ending; False if it is missing."""
    try:
        with path.open("rb") as file:
            start = file.read(DICOM_START)
    except OSError:
        return False
    return begins_as_dicom(start) or path.suffix.lower() in DICOM_ENDINGS


def begins_as_dicom(start: bytes) -> bool:
    """Return whether a file begins as PS3.10, 7.1 asks, or with a bare data set."""
    return has_preamble(start) or begins_with_data_set(start)


def has_preamble(start: bytes) -> bool:
    """Return whether the first `DICOM_START` bytes of a file are a preamble and its prefix."""
    return start[DICOM_START - len(_MAGIC) : DICOM_START] == _MAGIC


def begins_with_data_set(start: bytes) -> bool:
    """Return whether a file begins with a DICOM element (PS3.5, 7.1), without a preamble.

    Some archives and research tools leave out preamble and file meta information.
    """
    if len(start) < 8:
        return False
    for order in ("little", "big"):
        group = int.from_bytes(start[:2], order)
        element = int.from_bytes(start[2:4], order)
        if group not in _FIRST_GROUPS or element >= _FIRST_ELEMENTS:
            continue
        if start[4:6].isalpha() and start[4:6].isupper():  # a value representation
            return True
        # implicit is always little endian, and group 2 is always explicit
        length = int.from_bytes(start[4:8], "little")
        if order == "little" and group == 8 and length <= _LONGEST_FIRST:
            return True
    return False


def image_files(image: Path) -> list[Path]:
    """List the files and folders that decide what is read.

    One DICOM slice stands for its series. Sub-folders count as well, since slices in one of them
    are found and refused.
    """
    if image.is_dir():
        return [image, *_folders_in(image)]
    if is_dicom(image):
        return [image.parent, image, *_folders_in(image.parent)]
    return [image]


def _folders_in(folder: Path) -> list[Path]:
    return sorted(Path(place) / name for place, names, _ in os.walk(folder) for name in names)
