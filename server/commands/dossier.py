"""The privacy dossier of a study, written into the folder of its run."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from common.dossier import study_dossier
from common.dossier.measured import FEDERATED, Figures
from common.study.model import Study, load_study
from server.phases.program import declared_phases

DOSSIER = "privacy-dossier.md"
Transfer = Mapping[str, object]


def write_dossier(
    study: Study,
    out: Path,
    label: str,
    transfers: Iterable[Transfer] = (),
    figures: Figures | None = None,
) -> None:
    """Write the dossier of a federated run; nothing for references."""
    if label == FEDERATED:
        text = study_dossier(study, declared_phases(study), transfers, figures)
        (out / DOSSIER).write_text(text, encoding="utf-8")


def dossier_of(path: Path) -> str:
    """Write the dossier of a study file, or of a run's folder with what was measured in it.

    Raises
    ------
    InputError : no study there, or a wrong one.
    """
    study = load_study(path / "study.toml" if path.is_dir() else path)
    found: list[Transfer] = []
    if (path / "transfers.csv").is_file():
        with (path / "transfers.csv").open(newline="", encoding="utf-8") as file:
            found = [row for row in csv.DictReader(file) if row["run"] == FEDERATED]
    results = path / "results.json"
    figures = json.loads(results.read_text(encoding="utf-8")) if results.is_file() else {}
    return study_dossier(study, declared_phases(study), found, figures)
