"""Final model: safetensors for arrays, skops for the stacker, JSON; never pickle.

It is all that a prediction needs: `study.json` says how images and clinical columns are read.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from common.messages.plain import from_tree, plain, to_tree
from common.transforms.views import View
from common.utils.bounded import GIB, parse_json, read_bytes

FORMAT = 3
STUDY_FILE = "study.json"
Files = dict[str, NDArray[np.uint8]]
MOST_FILES, MOST_BYTES = 64, 4 * GIB
"""Files of a bundle, and bytes of all of them together; two networks take half a GiB."""
_WHOLE = "take the bundle from the coordinator's run, whole and with nothing beside it"


@plain
class TrainingColumns:
    """Summary of the training patients of all sites in the columns of a base table.

    Parameters
    ----------
    columns : names of p numeric columns, as in the base table.
    mean : float64 (p,), in the columns' own units.
    deviation : float64 (p,), with missing values filled as the model fills them.
    """

    columns: tuple[str, ...]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


@plain
class Bundle:
    """Everything needed to score a patient.

    Parameters
    ----------
    study : digest of the study that made it.
    models : per model a view that ends in its probability.
    networks : per network its flat float32 weights.
    cutoffs : per model the frozen cut-off.
    software : versions of the coordinator.
    settings : the study as canonical JSON, whose SHA-256 is `study`; a file of its own.
    training : by base table, summaries of the training patients' values.
    edges : float64 (models, cells + 1), quantiles of the training probabilities among them, by
        which a hospital joins the scores of its test patients; empty = none are known.
    """

    study: str
    models: dict[str, View]
    networks: dict[str, NDArray[np.float32]]
    cutoffs: dict[str, float]
    software: dict[str, str]
    settings: str
    training: dict[str, TrainingColumns]
    edges: NDArray[np.float64] = dataclasses.field(default_factory=lambda: np.zeros((0, 0)))

    def to_files(self) -> Files:
        """Return bundle.json, study.json, arrays.safetensors, and a .skops for each stacker."""
        from safetensors.numpy import save

        tree, arrays = to_tree(dataclasses.replace(self, settings=""))
        stored = {str(i): a for i, a in enumerate(arrays) if a.dtype != np.uint8}
        files: dict[str, bytes] = {
            f"stacker-{i}.skops": a.tobytes() for i, a in enumerate(arrays) if a.dtype == np.uint8
        }
        head = {"format": FORMAT, "arrays": len(arrays), "bundle": tree}
        files["bundle.json"] = json.dumps(head, indent=1, allow_nan=False).encode()
        files[STUDY_FILE] = self.settings.encode()
        files["arrays.safetensors"] = save({k: np.ascontiguousarray(a) for k, a in stored.items()})
        return {name: np.frombuffer(data, dtype=np.uint8) for name, data in sorted(files.items())}

    @staticmethod
    def from_files(files: Files) -> Bundle:
        """Read a bundle.

        Raises
        ------
        InputError : not a bundle, or one of another format.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            head = parse_json(files["bundle.json"].tobytes())
            if head["format"] != FORMAT:
                raise InputError(
                    f"a bundle of format {head['format']}, this release reads format {FORMAT}",
                    where="bundle",
                    remedy="use the release that made it, or run the study again with this one",
                )
            stored = load(files["arrays.safetensors"].tobytes())
            arrays: list[NDArray[Any]] = [
                stored[str(i)] if str(i) in stored else files[f"stacker-{i}.skops"]
                for i in range(int(head["arrays"]))
            ]
            bundle = from_tree(head["bundle"], arrays)
            settings = files[STUDY_FILE].tobytes().decode()
        except (KeyError, ValueError, TypeError, SafetensorError) as error:
            raise InputError(
                f"not a bundle of this system ({type(error).__name__})", where="bundle"
            ) from None
        if not isinstance(bundle, Bundle):
            raise InputError("bundle.json holds no bundle", where="bundle")
        return dataclasses.replace(bundle, settings=settings)


def save_files(files: Files, folder: Path) -> None:
    """Write the files of a bundle into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data.tobytes())


def read_files(folder: Path) -> Files:
    """Read the files of a bundle's folder.

    Raises
    ------
    InputError : more or larger files than a bundle has.
    """
    files: Files = {}
    left = MOST_BYTES
    for path in sorted(path for path in folder.glob("*") if path.is_file()):
        if len(files) == MOST_FILES:
            raise InputError("more files than a bundle has", where=str(folder), remedy=_WHOLE)
        files[path.name] = np.frombuffer(read_bytes(path, left, _WHOLE), dtype=np.uint8)
        left -= files[path.name].size
    return files
