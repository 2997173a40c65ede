"""Record of imported patients, so that a second import does nothing twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from client.importing.copying import IMAGE, MASK
from client.importing.pairing import Pair
from client.importing.pseudonyms import Pseudonyms
from common.study.model import Study
from common.utils.durable import write_durably

FILE = "import.json"
IMAGES = "images"
"""Folder of all copies, in that of cohort.csv."""
_FORMAT = "1"
"""Changes whenever a copy would be written differently."""


class ImportRecord:
    """Fingerprints and scanners by pseudonym, in the folder of cohort.csv; they tell of nobody."""

    def __init__(self, data: Path) -> None:
        self._data, self._path = data, data / FILE
        self._known = _read(self._path)

    def is_complete(self, pseudonym: str) -> bool:
        """Return whether a patient was imported, and the copy is still there."""
        folder = patient_folder(self._data, pseudonym)
        return pseudonym in self._known and (folder / MASK).is_file() and (folder / IMAGE).is_dir()

    def is_current(self, pseudonym: str, fingerprint: str) -> bool:
        """Return whether a patient's copy is that of these very files."""
        return self.is_complete(pseudonym) and self._known[pseudonym]["fingerprint"] == fingerprint

    def scanner(self, pseudonym: str) -> str:
        """Return manufacturer and model of an imported patient's scanner."""
        return self._known[pseudonym]["scanner"]

    def add(self, pseudonym: str, fingerprint: str, scanner: str) -> None:
        """Note a finished copy."""
        self._known[pseudonym] = {"fingerprint": fingerprint, "scanner": scanner}
        text = json.dumps(self._known, indent=1, sort_keys=True)
        write_durably(self._path, f"{text}\n".encode())


def patient_folder(data: Path, pseudonym: str) -> Path:
    """Return the folder of a patient's copy."""
    return data / IMAGES / pseudonym


def fingerprint_of(pairs: Mapping[str, Pair], study: Study, names: Pseudonyms) -> str:
    """Return a keyed digest of all files of a patient, and of what decides how they are copied."""
    seen = hashlib.sha256()
    slices = next(iter(pairs.values())).series.slices
    files = sorted((one.instance, one.path) for one in slices)
    for reading, pair in sorted(pairs.items()):
        stored = pair.contours.stored
        files.append((f"{reading} {pair.roi} {stored.instance}", stored.path))
    for instance, path in files:
        with path.open("rb") as file:
            seen.update(f"{instance}\n".encode() + hashlib.file_digest(file, "sha256").digest())
    settings = (_FORMAT, study.imaging.model_dump_json(), study.radiomics.settings)
    return names.fingerprint("\n".join((*settings, seen.hexdigest())))


def _read(path: Path) -> dict[str, dict[str, str]]:
    """Read the record; an unreadable one is empty, and everybody is imported again."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    known: dict[str, dict[str, str]] = {}
    for pseudonym, said in found.items() if isinstance(found, dict) else ():
        if isinstance(said, dict) and {"fingerprint", "scanner"} <= said.keys():
            known[str(pseudonym)] = {str(key): str(value) for key, value in said.items()}
    return known
