"""Finished steps of a run on disk: one file a step, and one for the round of a training."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.messages.plain import read_notes, read_plain, write_plain
from common.utils.durable import make_folder, write_durably

# of the values of steps; a run that another release began cannot be resumed
FORMAT = 3


class Checkpoint:
    """Results of finished steps by name; a step that is there is not run again.

    Parameters
    ----------
    folder : where the files are.
    study : digest of the study; another study's checkpoint is refused.
    notes : JSON-able, counts of the run, written in the same stroke with every result.
    """

    def __init__(
        self, folder: Path, study: str, notes: Callable[[], Mapping[str, Any]] = dict
    ) -> None:
        self.folder, self._notes = folder, notes
        make_folder(folder)
        mark, own = folder / "study", f"{study} {FORMAT}"
        if not mark.is_file():
            write_durably(mark, own.encode())
        elif mark.read_text(encoding="utf-8") != own:
            raise InputError(
                "the checkpoint belongs to another study or release",
                where=str(folder),
                remedy="give another --out folder",
            )
        self._written = int(self.newest().get("written", 0))

    def step(self, name: str, run: Callable[[], Any]) -> Any:
        """Return the stored result of this step, or run it now."""
        if self.has(name):
            return self.read(name)
        value = run()
        self.write(name, value)
        return value

    def has(self, name: str) -> bool:
        """Tell whether something is stored under this name."""
        return self._path(name).is_file()

    def write(self, name: str, value: Any) -> None:
        """Store a plain value in place of the one before; it is on the disk when this returns."""
        self._written += 1
        notes = {**self._notes(), "written": self._written}
        write_plain(self._path(name), value, json.dumps(notes))

    def read(self, name: str) -> Any:
        """Return a stored value."""
        return read_plain(self._path(name))

    def notes(self, name: str) -> dict[str, Any]:
        """Return the notes that were written with a stored value."""
        found: dict[str, Any] = json.loads(read_notes(self._path(name)))
        return found

    def remove(self, name: str) -> None:
        """Delete the value under this name, if there is one."""
        self._path(name).unlink(missing_ok=True)

    def newest(self) -> dict[str, Any]:
        """Return the notes that were written last; empty before the first."""
        found: list[dict[str, Any]] = [
            json.loads(read_notes(path)) for path in self.folder.glob("*.safetensors")
        ]
        return max(found, key=lambda notes: int(notes["written"]), default={})

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"


@dataclass(frozen=True)
class Slot:
    """Place for the progress of one step."""

    checkpoint: Checkpoint
    name: str

    def read(self) -> Any:
        """Return the last stored value, None before the first."""
        return self.checkpoint.read(self.name) if self.checkpoint.has(self.name) else None

    def write(self, value: Any) -> None:
        """Store a plain value in place of the one before."""
        self.checkpoint.write(self.name, value)

    def clear(self) -> None:
        """Delete the progress of a step that is done."""
        self.checkpoint.remove(self.name)
