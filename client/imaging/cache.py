"""Cache of crops and features on disk, addressed by the content they were made from.

A face can be rebuilt from a head CT, so whole images never enter; nor does any patient id.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from client.imaging.errors import PatientError
from client.imaging.source import KnownFiles
from common.utils.durable import make_folder

CODE_VERSION = 3
"""Version, raised whenever the same files and settings would give other crops or features."""

CROPS_VERSION = 2
"""Version of the crops alone, so that features, which take far longer, stay."""

_CHUNK = 1 << 20
_DAMAGED = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)
_WHOLE = "whole"
# head of a member of a zip file, before its name and its extra field, whose lengths come last
_ZIP_HEADER = 30


class ContentCache:
    """Folder of arrays, one file per entry.

    Parameters
    ----------
    folder : made when missing; readable by its owner only.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known = KnownFiles(folder / "known.json")

    def key_of(self, files: Sequence[Path], settings: Mapping[str, object]) -> str:
        """Return the SHA-256 (hex) of the files' bytes, the settings and the version of this code.

        Names and folders of the files do not matter, their order does; a folder stands for the
        files in it.

        Raises
        ------
        PatientError : a file is missing or cannot be read.
        TypeError : settings that JSON cannot hold.
        """
        parts = {
            "files": [self._digest(file) for file in files],
            "settings": dict(settings),
            "code": CODE_VERSION,
        }
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def get(self, key: str) -> dict[str, NDArray[Any]] | None:
        """Return the arrays under a key; None when there are none or the entry is damaged."""
        try:
            with np.load(self._path(key), allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except _DAMAGED:
            return None

    def holds(self, key: str) -> bool:
        """Return whether an entry exists intact; it is read in full once, until it changes."""
        try:
            answer = self.known.ask("whole", [self._path(key)], lambda: self._wholeness(key))
        except OSError:
            return False
        return answer == _WHOLE

    def map(self, key: str, name: str) -> NDArray[Any] | None:
        """Return one array under a key, memory-mapped; None as with `get`.

        The bytes are not checked: call `holds` first.
        """
        try:
            with self._path(key).open("rb") as file, zipfile.ZipFile(file) as entry:
                member = entry.getinfo(f"{name}.npy")
                if member.compress_type != zipfile.ZIP_STORED:
                    return None
                file.seek(member.header_offset)
                header = file.read(_ZIP_HEADER)
                lengths = struct.unpack_from("<HH", header, _ZIP_HEADER - 4)
                file.seek(sum(lengths), os.SEEK_CUR)
                return _mapped(file)
        except _DAMAGED:
            return None

    def put(self, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Store arrays under a key; an interruption leaves the old entry or none."""
        path = self._path(key)
        make_folder(path.parent)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npz"

    def _wholeness(self, key: str) -> str:
        return _WHOLE if self.get(key) is not None else "damaged"

    def _digest(self, path: Path) -> str:
        try:
            if not path.is_dir():
                return self.known.ask("digest", [path], lambda: file_digest(path))
            files = sorted(file for file in path.iterdir() if file.is_file())
            return self.known.ask("digest of all", files, lambda: _joint_digest(files))
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            raise PatientError(
                "no such file" if missing else f"cannot be read: {error.strerror}",
                where=path.name,
                remedy="correct the path in cohort.csv" if missing else "check the file's rights",
            ) from None


def _mapped(file: BinaryIO) -> NDArray[Any]:
    """Map the array in .npy form at the file's position.

    Raises
    ------
    ValueError : another form, or one that holds Python objects.
    """
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("another version of the format")
    shape, fortran, kind = np.lib.format.read_array_header_1_0(file)
    if kind.hasobject:
        raise ValueError("Python objects")
    order: Literal["F", "C"] = "F" if fortran else "C"
    return np.memmap(file, kind, "r", file.tell(), shape, order).view(np.ndarray)


def _joint_digest(files: Sequence[Path]) -> str:
    digests = sorted(file_digest(file) for file in files)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
