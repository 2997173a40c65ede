"""What a site remembers of a run on its own disk: studies it was shown, tables it made.

A new process serves every message of a deployment, so nothing may live in memory only. Files are
written whole and then moved into place, so an interruption never leaves half a file.
"""

from __future__ import annotations

import io
import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import StudyError
from common.statistics.base import Float
from common.study.model import Study
from common.utils.durable import make_folder

_SAFE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")


@dataclass(frozen=True)
class StoredTable:
    """A table by patient: ids, column names, float64 values (patients, columns)."""

    patients: tuple[str, ...]
    columns: tuple[str, ...]
    values: Float


def safe_name(text: str) -> str:
    """`text` when it can be a file name; a name from another party must never leave its folder."""
    if not _SAFE.fullmatch(text) or ".." in text:
        raise StudyError("a name in the request cannot be a file name", where="request")
    return text


def write_whole(path: Path, data: bytes) -> None:
    """Write a file (mode 0600) so that it is there completely or not at all."""
    make_folder(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remember_study(work: Path, study: Study) -> None:
    """Keep a study under its digest."""
    text = json.dumps(study.model_dump(mode="json"), sort_keys=True)
    write_whole(work / "studies" / f"{study.digest()}.json", text.encode())


def recall_study(work: Path, digest: str) -> Study:
    """The study of this digest.

    Raises
    ------
    StudyError : the site was never shown it, or the file no longer has that digest.
    """
    path = work / "studies" / f"{safe_name(digest)}.json"
    if not path.is_file():
        raise StudyError("the site was not enrolled in this study", where="study digest")
    study = Study.model_validate_json(path.read_text(encoding="utf-8"))
    if study.digest() != digest:
        raise StudyError("the stored study has another digest", where="study digest")
    return study


class RunTables:
    """Tables that a run made at this site, such as a network's features for its patients."""

    def __init__(self, work: Path, run: str) -> None:
        self.folder = work / "runs" / safe_name(run)

    def _path(self, name: str) -> Path:
        return self.folder / f"{safe_name(name.replace('/', '-').replace('@', '.'))}.npz"

    def write(self, name: str, subset: str, table: StoredTable) -> None:
        """Store a table of a subset's patients under its name."""
        path = self._path(f"{name}@{subset}")
        content = io.BytesIO()
        np.savez(
            content,
            values=table.values,
            patients=np.array(table.patients, dtype=np.str_),
            columns=np.array(table.columns, dtype=np.str_),
        )
        write_whole(path, content.getvalue())

    def read(self, name: str, subset: str) -> StoredTable:
        """The table of this name and subset; KeyError when the run has not made it."""
        path = self._path(f"{name}@{subset}")
        if not path.is_file():
            raise KeyError(name)
        with np.load(path, allow_pickle=False) as stored:
            return StoredTable(
                patients=tuple(stored["patients"].tolist()),
                columns=tuple(stored["columns"].tolist()),
                values=stored["values"],
            )
