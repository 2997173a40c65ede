"""What a path in cohort.csv stands for: a file, a folder, or one ROI of a file."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from common.utils.durable import make_folder


class KnownFiles:
    """A JSON file of answers, by a hash of paths, sizes and times: no path can be read in it.

    Parameters
    ----------
    path : where it is; made by `save`, readable by its owner only.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _read(path)
        self._new: dict[str, str] = {}

    def ask(self, about: str, files: list[Path], find_out: Callable[[], str]) -> str:
        """What is known of these files as they are now, found out where nothing is.

        Parameters
        ----------
        about : the question, as others may be asked of the same files.

        Raises
        ------
        OSError : a file that is not there; and what `find_out` raises.
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
        """Add what is new to the file, and to what other processes have put there."""
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
    """Nothing where there is no such file, or none that can be read: all is found out anew."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {str(name): str(answer) for name, answer in known.items()}


DICOM_ENDINGS = frozenset({".dcm", ".dicom", ".dic", ".ima"})
DICOM_START = 132
"""Bytes that tell whether a file is DICOM."""

_MAGIC = b"DICM"
_FIRST_GROUPS = (2, 8)
_FIRST_ELEMENTS = 0x100
_LONGEST_FIRST = 256


def split_roi(path: Path) -> tuple[Path, str | None]:
    """A file, and the ROI that is wanted of it where one is named: `rtstruct.dcm#GTV`.

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
    """Tell whether a file is DICOM, by its first bytes or its ending; False where there is none."""
    try:
        with path.open("rb") as file:
            start = file.read(DICOM_START)
    except OSError:
        return False
    return begins_as_dicom(start) or path.suffix.lower() in DICOM_ENDINGS


def begins_as_dicom(start: bytes) -> bool:
    """Tell whether a file begins as PS3.10, 7.1 asks, or with a bare data set."""
    return has_preamble(start) or begins_with_data_set(start)


def has_preamble(start: bytes) -> bool:
    """Tell whether the first `DICOM_START` bytes of a file are a preamble and its prefix."""
    return start[DICOM_START - len(_MAGIC) : DICOM_START] == _MAGIC


def begins_with_data_set(start: bytes) -> bool:
    """Tell whether a file begins with a first element of DICOM (PS3.5, 7.1), without a preamble.

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
        # implicit is always little, and group 2 is always explicit
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
