"""The final model: safetensors for arrays, skops for the stacker, JSON; never pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from common.plain import from_tree, plain, to_tree
from common.views import View

FORMAT = 1
Files = dict[str, NDArray[np.uint8]]


@plain
class Bundle:
    """Everything that is needed to score a patient.

    Parameters
    ----------
    study : digest of the study that made it.
    models : per model a view that ends in its probability.
    networks : per network its flat float32 weights.
    cutoffs : per model the frozen cut-off.
    software : versions of the coordinator.
    """

    study: str
    models: dict[str, View]
    networks: dict[str, NDArray[np.float32]]
    cutoffs: dict[str, float]
    software: dict[str, str]

    def to_files(self) -> Files:
        """Bytes by file name: bundle.json, arrays.safetensors, and one .skops a stacker."""
        from safetensors.numpy import save

        tree, arrays = to_tree(self)
        stored = {str(i): a for i, a in enumerate(arrays) if a.dtype != np.uint8}
        files: dict[str, bytes] = {
            f"stacker-{i}.skops": a.tobytes() for i, a in enumerate(arrays) if a.dtype == np.uint8
        }
        head = {"format": FORMAT, "arrays": len(arrays), "bundle": tree}
        files["bundle.json"] = json.dumps(head, indent=1, allow_nan=False).encode()
        files["arrays.safetensors"] = save({k: np.ascontiguousarray(a) for k, a in stored.items()})
        return {name: np.frombuffer(data, dtype=np.uint8) for name, data in sorted(files.items())}

    @staticmethod
    def from_files(files: Files) -> Bundle:
        """Read a bundle.

        Raises
        ------
        InputError : not a bundle, or one of another format.
        """
        from safetensors.numpy import load

        try:
            head = json.loads(files["bundle.json"].tobytes())
            stored = load(files["arrays.safetensors"].tobytes())
            arrays: list[NDArray[Any]] = [
                stored[str(i)] if str(i) in stored else files[f"stacker-{i}.skops"]
                for i in range(int(head["arrays"]))
            ]
            bundle = from_tree(head["bundle"], arrays)
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(
                f"not a bundle of this system ({type(error).__name__})", where="bundle"
            ) from None
        if head["format"] != FORMAT or not isinstance(bundle, Bundle):
            raise InputError("a bundle of another format", where="bundle")
        return bundle


def save_files(files: Files, folder: Path) -> None:
    """Write the files of a bundle into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data.tobytes())


def read_files(folder: Path) -> Files:
    """The files of a bundle's folder."""
    return {
        path.name: np.frombuffer(path.read_bytes(), dtype=np.uint8)
        for path in sorted(folder.glob("*"))
        if path.is_file()
    }
