"""What a run has finished, on disk without pickle: one JSON and one safetensors file a step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import InputError
from common.plain import from_tree, to_tree


class Checkpoint:
    """Results of finished steps by name; a step that is there is not run again.

    Parameters
    ----------
    folder : where the files are.
    study : digest of the study; another study's checkpoint is refused.
    """

    def __init__(self, folder: Path, study: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        mark = folder / "study"
        if mark.is_file() and mark.read_text(encoding="utf-8") != study:
            raise InputError(
                "the checkpoint belongs to another study",
                where=str(folder),
                remedy="give another --out folder",
            )
        mark.write_text(study, encoding="utf-8")

    def step(self, name: str, run: Callable[[], Any]) -> Any:
        """The stored result of this step, or that of running it now."""
        if self.has(name):
            return self.read(name)
        value = run()
        self.write(name, value)
        return value

    def has(self, name: str) -> bool:
        """Whether the step was finished."""
        return (self.folder / f"{name}.json").is_file()

    def write(self, name: str, value: Any) -> None:
        """Store a plain value; the JSON file comes last, so a torn write counts as not done."""
        from safetensors.numpy import save_file

        tree, arrays = to_tree(value)
        save_file(
            {str(i): np.ascontiguousarray(array) for i, array in enumerate(arrays)},
            self.folder / f"{name}.safetensors",
        )
        head = {"arrays": len(arrays), "value": tree}
        temporary = self.folder / f"{name}.json.part"
        temporary.write_text(json.dumps(head), encoding="utf-8")
        temporary.replace(self.folder / f"{name}.json")

    def read(self, name: str) -> Any:
        """A stored value."""
        from safetensors.numpy import load_file

        head = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        stored = load_file(self.folder / f"{name}.safetensors")
        return from_tree(head["value"], [stored[str(i)] for i in range(head["arrays"])])
