"""The tables that a run leaves at a site, as files.

A new process serves every message of a deployment, so nothing may live in memory only.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import StudyError
from common.statistics.base import Float
from common.utils.durable import write_durably

_SAFE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")


@dataclass(frozen=True)
class StoredTable:
    """A table by patient: ids, column names, float64 values (patients, columns).

    `made_by` is the digest of what the coordinator sent to make it, the same at every site.
    """

    patients: tuple[str, ...]
    columns: tuple[str, ...]
    values: Float
    made_by: str = ""


def safe_name(text: str) -> str:
    """Return `text` if it can be a file name: another party's must never leave its folder."""
    if not _SAFE.fullmatch(text) or ".." in text:
        raise StudyError("a name in the request cannot be a file name", where="request")
    return text


class RunTables:
    """Tables that a run made at this site, such as a network's features for its patients."""

    def __init__(self, work: Path, run: str) -> None:
        self.folder = work / "runs" / safe_name(run)

    def _path(self, name: str) -> Path:
        return self.folder / f"{safe_name(name.replace('/', '-').replace('@', '.'))}.npz"

    def write(self, name: str, subset: str, table: StoredTable) -> None:
        """Store a table of a subset's patients under its name."""
        content = io.BytesIO()
        np.savez(
            content,
            values=table.values,
            patients=np.array(table.patients, dtype=np.str_),
            columns=np.array(table.columns, dtype=np.str_),
            made_by=np.array(table.made_by, dtype=np.str_),
        )
        write_durably(self._path(f"{name}@{subset}"), content.getvalue())

    def read(self, name: str, subset: str) -> StoredTable:
        """Return the table of this name and subset; KeyError when the run has not made it."""
        path = self._path(f"{name}@{subset}")
        if not path.is_file():
            raise KeyError(name)
        with np.load(path, allow_pickle=False) as stored:
            return StoredTable(
                patients=tuple(stored["patients"].tolist()),
                columns=tuple(stored["columns"].tolist()),
                values=stored["values"],
                made_by=str(stored["made_by"]),
            )
