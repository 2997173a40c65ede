"""Probabilities of one patient by every model whose inputs are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from client.data.cohort import Patient
from client.data.tables import clinical_table
from client.imaging.prepared import PreparedImages
from client.predict.inputs import Case
from client.predict.ranges import Outside, TrainingRanges
from client.predict.verify import Opened
from client.training.batches import Crops
from client.training.device import Compute
from client.training.inference import network_of, network_tables
from client.training.loop import infer
from common.models import NetworkName, labels_of, network_name
from common.statistics.base import Float, Rows
from common.transforms.views import ByFold, Joined, Paired, Table, View, materialise

CLINICAL, IMAGE = "clinical data", "CT with contour"
_SUBSET = "patient"


@dataclass(frozen=True)
class Score:
    """Prediction by one model.

    Parameters
    ----------
    probability : None where inputs are missing, which `lacks` names.
    cutoff : frozen in the training; at or above it the risk is high.
    """

    model: str
    probability: float | None
    cutoff: float
    lacks: tuple[str, ...] = ()

    @property
    def group(self) -> str | None:
        """`high` or `low`; None without a probability."""
        if self.probability is None:
            return None
        return "high" if self.probability >= self.cutoff else "low"


@dataclass(frozen=True)
class Prediction:
    """All that was found of one patient."""

    case: Case
    scores: tuple[Score, ...]
    outside: tuple[Outside, ...]
    notes: tuple[str, ...]


@dataclass
class Predictor:
    """Models of a bundle, ready to be applied; the networks are built once.

    Parameters
    ----------
    opened : the bundle.
    compute : where its networks run.
    """

    opened: Opened
    compute: Compute
    networks: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        study = self.opened.study
        self.networks = {
            name: network_of(study, network_name(name), weights)
            for name, weights in self.opened.bundle.networks.items()
        }
        self.ranges = TrainingRanges(self.opened.bundle, study)

    def predict(self, case: Case, images: PreparedImages | None) -> Prediction:
        """Score a patient with every model that can be used.

        Parameters
        ----------
        images : prepared, where the case has an image that a model looks at.
        """
        bundle = self.opened.bundle
        tables = self._tables(case, images)
        scores = []
        for model, view in bundle.models.items():
            lacks = {_input_of(name) for name in base_tables(view) if name not in tables.found}
            probability = None
            if not lacks:
                probability = float(materialise(view, tables, _SUBSET).values[0, 0])
            score = Score(model, probability, bundle.cutoffs[model], tuple(sorted(lacks)))
            scores.append(score)
        notes = [*_notes(case, scores), *self.ranges.unused(case.clinical or {})]
        return Prediction(case, tuple(scores), self._outside(case, tables), tuple(notes))

    def _tables(self, case: Case, images: PreparedImages | None) -> CaseTables:
        study, found = self.opened.study, {}
        if case.clinical is not None:
            values = clinical_table([_patient(case)], study)
            found["clinical"] = (study.clinical_columns, values)
        if case.image is not None and images is not None:
            if images.has_features:
                found["radiomics"] = images.features("r1", [case.patient_id])
            for name, model in self.networks.items():
                found.update(self._network(network_name(name), model, case, images))
        return CaseTables(found)

    def _network(
        self, kind: NetworkName, model: Any, case: Case, images: PreparedImages
    ) -> dict[str, tuple[tuple[str, ...], Float]]:
        patches, index = images.crops(kind, [case.patient_id])
        crops = Crops(patches, index, np.zeros(len(patches), dtype=np.float32))
        settings = self.opened.study.network(kind)
        features, probability = infer(model, kind, crops, settings, 1, self.compute)
        return network_tables(kind, "final", features, probability)

    def _outside(self, case: Case, tables: CaseTables) -> tuple[Outside, ...]:
        found: list[Outside] = []
        if case.clinical is not None:
            found.extend(self.ranges.clinical(case.clinical))
        if "radiomics" in tables.found:
            columns, values = tables.found["radiomics"]
            found.extend(self.ranges.radiomics(columns, values[0]))
        for name in self.networks:
            if f"{name}/final/features" in tables.found:
                columns, values = tables.found[f"{name}/final/features"]
                found.extend(self.ranges.network(name, columns, values[0]))
        return tuple(found)


@dataclass(frozen=True)
class CaseTables:
    """Columns and values (1, p) of one patient by name: a `common.transforms.views.TableReader`."""

    found: Mapping[str, tuple[tuple[str, ...], Float]]

    def read(self, name: str, subset: str) -> Rows:
        """Return the one row of a base table; KeyError where the patient has none."""
        columns, values = self.found[name]
        # a prediction has no label and no fold
        return Rows(values, columns, np.zeros(1), np.full(1, -1, dtype=np.int64))


def base_tables(view: View) -> set[str]:
    """Return the names of the base tables that a view starts from."""
    source = view.source
    if isinstance(source, Joined | ByFold):
        return {name for part in source.parts for name in base_tables(part)}
    if isinstance(source, Paired):
        return {source.first.name, source.second.name}
    return {source.name} if isinstance(source, Table) else set()


def _input_of(table: str) -> str:
    return CLINICAL if table == "clinical" else IMAGE


def _patient(case: Case) -> Patient:
    clinical = case.clinical or {}
    return Patient(case.patient_id, "", 0, "external_test", -1, clinical, None, {})


def _notes(case: Case, scores: list[Score]) -> list[str]:
    """Say which inputs were missing, and what follows."""
    notes = []
    if case.clinical is not None:
        gone = [name for name, value in case.clinical.items() if np.isnan(value)]
        if gone:
            notes.append(
                f"No value of {', '.join(gone)}: filled with the mean, or the most frequent level,"
                " of the training patients."
            )
    for lack in sorted({lack for score in scores for lack in score.lacks}):
        cannot = [s.model for s in scores if lack in s.lacks]
        can = [s.model for s in scores if not s.lacks]
        fusions = (
            " A fusion needs every input that it uses."
            if any("fusion" in m for m in cannot)
            else ""
        )
        notes.append(
            f"No {lack}: {labels_of(cannot)} cannot be used;"
            f" {labels_of(can) or 'no model'} can.{fusions}"
        )
    return notes


def job_files(case: Case) -> tuple[Path, dict[str, Path]]:
    """Return image and masks of a case that has them, as the preparation takes them."""
    if case.image is None or case.mask is None:
        raise ValueError("a case without an image")
    return case.image, {"r1": case.mask}
