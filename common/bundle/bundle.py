"""Final model: safetensors for arrays, skops for the stacker, JSON; never pickle.

It is all that a prediction needs: `study.json` says how images and clinical columns are read.
The coordinator signs its files: see `sign_files`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray
from pydantic import ValidationError

from common.errors import InputError, SignatureError, StudyError
from common.masking import identity
from common.masking.fixed_point import from_text, to_text
from common.messages.plain import from_tree, plain, to_tree
from common.study.block import explain
from common.study.model import Study
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
        InputError : not a bundle, one of another format, or with parts that no run writes.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            head = parse_json(files["bundle.json"].tobytes())
            if head["format"] != FORMAT:
                raise InputError(
                    f"a bundle of format {str(head['format'])[:20]}, this release reads format"
                    f" {FORMAT}",
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
        if fault := _fault_of(bundle):
            raise InputError(f"a bundle whose {fault}", where="bundle", remedy=_WHOLE)
        return dataclasses.replace(bundle, settings=settings)

    def recorded_study(self) -> Study:
        """Return the study that made it.

        Raises
        ------
        InputError : it is another one, or of another release.
        """
        if hashlib.sha256(self.settings.encode()).hexdigest() != self.study:
            raise InputError("the study is not the one that made the models", where=STUDY_FILE)
        try:
            return Study.model_validate_json(self.settings)
        except ValidationError as error:
            found = explain(error, where=f"{STUDY_FILE} of the bundle", model=Study)
            raise InputError(
                f"this release does not know the study: {found.what}",
                where=found.where,
                remedy=f"use fedlnm {self.software.get('fedlnm', 'of the coordinator')}",
            ) from None


def _fault_of(bundle: Bundle) -> str:
    """Return what no run writes; empty where there is nothing of the kind."""
    of_each = (
        ("models", View),
        ("networks", np.ndarray),
        ("cutoffs", float),
        ("software", str),
        ("training", TrainingColumns),
    )
    for name, kind in of_each:
        parts = getattr(bundle, name)
        if not isinstance(parts, dict) or not all(type(one) is kind for one in parts.values()):
            return f"{name} are none"
    if type(bundle.study) is not str or not isinstance(bundle.edges, np.ndarray):
        return "study or edges are none"
    if bundle.cutoffs.keys() != bundle.models.keys():
        return "cut-offs are not those of its models"
    if not all(0.0 <= cutoff <= 1.0 for cutoff in bundle.cutoffs.values()):
        return "cut-offs are no probabilities"
    if np.isnan(bundle.edges).any():
        return "edges are no numbers"
    fitted = (bundle.models, bundle.networks, bundle.training)
    return "" if _is_finite(fitted) else "fitted numbers are not all finite"


def _is_finite(part: object) -> bool:
    """Return whether all numbers at any depth are finite."""
    if isinstance(part, np.ndarray):
        return part.dtype.kind != "f" or bool(np.isfinite(part).all())
    if isinstance(part, dict):
        return all(map(_is_finite, part.values()))
    if isinstance(part, tuple):
        return all(map(_is_finite, part))
    if dataclasses.is_dataclass(part):
        return all(_is_finite(getattr(part, field.name)) for field in dataclasses.fields(part))
    return not isinstance(part, float) or abs(part) < float("inf")


@contextmanager
def blamed_on_bundle(*, checked: bool) -> Iterator[None]:
    """Attribute failures to a bundle; those of this machine (files, memory) pass as they are.

    Parameters
    ----------
    checked : somebody known has signed it, so that the fault may be this program's, too.

    Raises
    ------
    InputError : in place of an exception that is not this system's own.
    """
    try:
        yield
    except (StudyError, OSError, MemoryError):
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's
            raise
        kind = type(error).__name__
        if checked:
            what = f"this release cannot use what the bundle holds ({kind})"
            remedy = "ask the coordinator for the bundle again, and show this sentence"
        else:
            what = f"a bundle that nobody checked is not as it should be ({kind})"
            remedy = "take the bundle from the coordinator's run, whole, and check its signature"
        raise InputError(what, where="bundle", remedy=remedy) from error


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
