"""The privacy dossier of a study, written into the folder of its run."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from common.dossier import study_dossier
from common.study.model import Study, load_study

DOSSIER = "privacy-dossier.md"
# references move nothing between hospitals
LABEL = "federated"
Transfer = Mapping[str, object]


def write_dossier(study: Study, out: Path, label: str, transfers: Iterable[Transfer] = ()) -> None:
    """Write the dossier of a federated run; nothing for references.

    Parameters
    ----------
    transfers : what was sent, once the run is over.
    """
    if label == LABEL:
        (out / DOSSIER).write_text(study_dossier(study, transfers), encoding="utf-8")


def dossier_of(path: Path) -> str:
    """The dossier of a study file, or of a run's folder with what its transfers.csv has.

    Raises
    ------
    InputError : no study there, or a wrong one.
    """
    if not path.is_dir():
        return study_dossier(load_study(path))
    found: list[Transfer] = []
    if (path / "transfers.csv").is_file():
        with (path / "transfers.csv").open(newline="", encoding="utf-8") as file:
            found = [row for row in csv.DictReader(file) if row["run"] == LABEL]
    return study_dossier(load_study(path / "study.toml"), found)
