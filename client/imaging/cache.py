"""Crops and features on disk, found again by the content they were made from.

A face can be rebuilt from a head CT, so whole images never enter; nor does any patient id.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.imaging.errors import PatientError

CODE_VERSION = 2
"""Raised whenever the same files and settings would give other crops or features."""

_CHUNK = 1 << 20
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class ContentCache:
    """A folder of arrays, one file an entry.

    Parameters
    ----------
    folder : made when missing; readable by its owner only.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._digests: dict[tuple[str, int, int], str] = {}

    def key_of(self, files: Sequence[Path], settings: Mapping[str, object]) -> str:
        """SHA-256 (hex) over the files' bytes, the settings and the version of this code.

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
        """The arrays under a key; None when there are none or the entry is damaged."""
        try:
            with np.load(self._path(key), allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except _DAMAGED:
            return None

    def put(self, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Store arrays under a key; an interruption leaves the old entry or none."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
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

    def _digest(self, path: Path) -> str:
        try:
            if path.is_dir():
                inside = sorted(self._digest(file) for file in path.iterdir() if file.is_file())
                return hashlib.sha256("".join(inside).encode()).hexdigest()
            status = path.stat()
            known = (str(path), status.st_size, status.st_mtime_ns)
            if known not in self._digests:
                self._digests[known] = _file_digest(path)
            return self._digests[known]
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            raise PatientError(
                "no such file" if missing else f"cannot be read: {error.strerror}",
                where=path.name,
                remedy="correct the path in cohort.csv" if missing else "check the file's rights",
            ) from None


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
