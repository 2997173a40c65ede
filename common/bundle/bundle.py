"""Final model: safetensors for arrays, skops for the stacker, JSON; never pickle.

It is all that a prediction needs: `study.json` says how images and clinical columns are read.
The coordinator signs its files: see `sign_files`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from common.errors import InputError, SignatureError
from common.masking import identity
from common.masking.fixed_point import from_text, to_text
from common.messages.plain import from_tree, plain, to_tree
from common.transforms.views import View
from common.utils.bounded import GIB, MOST_SETTINGS, parse_json, read_bytes

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


SIGNATURE_FILE = "signature.json"
_PURPOSE = "bundle"


def sign_files(files: Files, private: Ed25519PrivateKey) -> Files:
    """Return the files with `signature.json`, over the names and contents of all others."""
    signature = identity.sign(private, _PURPOSE, _content(files))
    public = identity.public_text(private.public_key())
    text = json.dumps({"public_key": public, "signature": to_text(signature)}, indent=1)
    return {**files, SIGNATURE_FILE: np.frombuffer(text.encode(), dtype=np.uint8)}


def check_files(files: Mapping[str, NDArray[np.uint8]], public_key: str) -> None:
    """Check that the holder of this key (base64) signed exactly these files.

    Raises
    ------
    SignatureError : no signature, one of another key, or a file was changed, added or removed.
    """
    try:
        stored = parse_json(files[SIGNATURE_FILE].tobytes(), MOST_SETTINGS)
        signature = from_text(stored["signature"], identity.SIGNATURE_BYTES)
    except (KeyError, ValueError, TypeError):
        raise SignatureError(
            "the bundle is not signed",
            where=SIGNATURE_FILE,
            remedy="take the bundle from the coordinator's run, whole",
        ) from None
    identity.verify(identity.public_key(public_key), _PURPOSE, _content(files), signature)


def digest_of(files: Mapping[str, NDArray[np.uint8]]) -> str:
    """Return the SHA-256 (hex) over the names and contents of all files but the signature."""
    return hashlib.sha256(_content(files)).hexdigest()


def signer_of(files: Mapping[str, NDArray[np.uint8]]) -> str:
    """Return the key (base64) in `signature.json`, empty without one; it proves nothing yet."""
    try:
        key = parse_json(files[SIGNATURE_FILE].tobytes(), MOST_SETTINGS)["public_key"]
    except (KeyError, ValueError, TypeError):
        return ""
    return key if isinstance(key, str) else ""


def _content(files: Mapping[str, NDArray[np.uint8]]) -> bytes:
    digests = {
        name: hashlib.sha256(data.tobytes()).hexdigest()
        for name, data in files.items()
        if name != SIGNATURE_FILE
    }
    return json.dumps(digests, sort_keys=True).encode()
