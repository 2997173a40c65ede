"""Probabilities of one patient by every model whose inputs are there."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from client.data.cohort import Patient
from client.data.tables import clinical_table
from client.imaging.prepared import PreparedImages
from client.predict.inputs import Batches, Case, batches_of
from client.predict.verify import Opened
from client.store.batches import KeptBatches
from client.training.batches import Crops
from client.training.device import Compute
from client.training.inference import network_of, network_tables
from common.bundle.bundle import Bundle
from common.errors import InputError
from common.learning.combat import BatchEffects
from common.models import MODELS, NetworkName, labels_of, network_name
from common.statistics.base import Float, Int, Rows
from common.study.model import ClinicalColumn, Study
from common.transforms import NormalScores, Standardise
from common.transforms.views import ByFold, Joined, Table, View, base_tables, materialise


@dataclass(frozen=True)
class Range:
    """Range of the training values of one column, in its own units."""

    low: float
    high: float


@dataclass(frozen=True)
class Outside:
    """An input outside its range.

    Parameters
    ----------
    table : of a base model.
    column : its name; of a network "12 of 2048 image features", as single ones have no meaning.
    value, usual : in words, with the unit.
    models : that use it.
    """

    table: str
    column: str
    value: str
    usual: str
    models: tuple[str, ...]

    def __str__(self) -> str:
        used = f"used by {labels_of(self.models)}" if self.models else "used by no model"
        if not self.value:
            return f"{self.column} are outside the training range; {used}"
        return f"{self.column} {self.value} is outside the training range {self.usual}; {used}"


class TrainingRanges:
    """The ranges of all columns that a bundle knows, by base table.

    Of a column with normal scores they are where its scores reach the study's limit (the first and
    the last knot); of any other the mean and as many deviations as that limit says, three by
    default. Both come from sums over all sites: nobody knows the smallest and the largest value.
    """

    def __init__(self, bundle: Bundle, study: Study) -> None:
        self._study = study
        limit = study.selection.clip
        self.used: dict[str, dict[str, set[str]]] = {}
        self.known: dict[str, dict[str, Range]] = {}
        for name, one in bundle.training.items():
            spread = zip(one.columns, one.mean.tolist(), one.deviation.tolist(), strict=True)
            self.known[name] = {c: Range(m - limit * s, m + limit * s) for c, m, s in spread}
        for model, view in bundle.models.items():
            for name, (columns, low, high) in _fitted(view, limit):
                ranges = self.known.setdefault(name, {})
                users = self.used.setdefault(name, {})
                for column, a, b in zip(columns, low.tolist(), high.tolist(), strict=True):
                    ranges.setdefault(column, Range(a, b))
                    users.setdefault(column, set()).add(model)

    def users(self, table: str, column: str) -> tuple[str, ...]:
        """Return the models that use a column."""
        return tuple(sorted(self.used.get(table, {}).get(column, ())))

    def clinical(self, values: Mapping[str, float]) -> list[Outside]:
        """Return numbers and orders outside their range.

        Parameters
        ----------
        values : coded, by clinical column.
        """
        ranges, found = self.known.get("clinical", {}), []
        for column in self._study.clinical:
            value = values.get(column.name, math.nan)
            if math.isnan(value) or column.name not in ranges:
                continue
            usual = ranges[column.name]
            if _out(value, usual):
                shown = column.levels[round(value)] if column.levels else _with_unit(value, column)
                users = self.users("clinical", column.name)
                words = _clinical_words(column, usual)
                found.append(Outside("clinical", column.name, shown, words, users))
        return found

    def unused(self, values: Mapping[str, float]) -> list[str]:
        """Return sentences about given clinical values that no model uses.

        A column in which too few training patients differ is left out, and a level that too few
        have counts as the reference level. How many had it, the bundle does not say.
        """
        known = self.known.get("clinical", {})
        same, joined = [], []
        for column in self._study.clinical:
            value = values.get(column.name, math.nan)
            if math.isnan(value) or not known:
                continue
            own = [column.name, *(f"{column.name}={level}" for level in column.levels)]
            if not any(name in known for name in own):
                same.append(column.name)
            elif column.kind in ("binary", "categorical") and value > 0:
                level = column.levels[round(value)]
                if f"{column.name}={level}" not in known:
                    joined.append(f"{column.name} {level} as {column.levels[0]}")
        sentences = []
        if same:
            sentences.append(
                f"No model uses {', '.join(same)}: too few training patients differed in this."
            )
        if joined:
            sentences.append(
                f"The models take {', '.join(joined)}: too few training patients had them."
            )
        return sentences

    def radiomics(self, columns: tuple[str, ...], values: Float) -> list[Outside]:
        """Return features that a model uses and that are outside their range.

        Parameters
        ----------
        values : (p,), of these columns.
        """
        ranges, found = self.known.get("radiomics", {}), []
        for column, value in zip(columns, values.tolist(), strict=True):
            if column in ranges and _out(value, ranges[column]):
                usual = f"{ranges[column].low:.4g} to {ranges[column].high:.4g}"
                users = self.users("radiomics", column)
                found.append(Outside("radiomics", column, f"{value:.4g}", usual, users))
        return found

    def network(self, network: str, columns: tuple[str, ...], values: Float) -> list[Outside]:
        """Return one entry that counts a network's features outside their ranges, or none."""
        name = f"{network}/final/features"
        ranges = self.known.get(name, {})
        places = [i for i, column in enumerate(columns) if column in ranges]
        out = [i for i in places if _out(float(values[i]), ranges[columns[i]])]
        if not out:
            return []
        users = {user for i in out for user in self.users(name, columns[i])}
        what = f"{MODELS[network].short}: {len(out)} of {len(places)} image features"
        return [Outside(network, what, "", "of each", tuple(sorted(users)))]


def _out(value: float, usual: Range) -> bool:
    room = 1e-9 * max(abs(usual.low), abs(usual.high))
    return not usual.low - room <= value <= usual.high + room


def _with_unit(value: float, column: ClinicalColumn) -> str:
    return f"{value:.6g} {column.unit}".strip()


def _clinical_words(column: ClinicalColumn, usual: Range) -> str:
    if not column.levels:
        return f"{usual.low:.3g} to {usual.high:.3g} {column.unit}".strip()
    first = min(max(math.ceil(usual.low), 0), len(column.levels) - 1)
    last = max(min(math.floor(usual.high), len(column.levels) - 1), first)
    return f"{column.levels[first]} to {column.levels[last]}"


def _fitted(view: View, limit: float) -> list[tuple[str, tuple[tuple[str, ...], Float, Float]]]:
    """Return columns and both ends of their ranges, by base table of a model."""
    source = view.source
    if isinstance(source, Joined | ByFold):
        return [found for part in source.parts for found in _fitted(part, limit)]
    steps = [step for step in _flat(view.transforms) if isinstance(step, Standardise)]
    if not isinstance(source, Table) or not steps:
        return []
    scaled = steps[0]
    low, high = np.full(scaled.mean.size, -limit), np.full(scaled.mean.size, limit)
    for step in _flat(view.transforms):
        if isinstance(step, NormalScores) and set(step.columns) <= set(scaled.columns):
            at = [scaled.columns.index(name) for name in step.columns]
            low[at], high[at] = step.knots[:, 0], step.knots[:, -1]
    ends = (scaled.mean + low * scaled.scale, scaled.mean + high * scaled.scale)
    return [(source.name, (scaled.columns, *ends))]


def _flat(steps: tuple[Any, ...]) -> list[Any]:
    """Return the steps with compound ones taken apart."""
    return [
        one for step in steps for one in (_flat(step.steps) if hasattr(step, "steps") else [step])
    ]


CLINICAL, IMAGE = "clinical data", "CT with contour"
_SUBSET = "patient"
Found = Mapping[str, tuple[tuple[str, ...], Float]]


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
    """Models of a bundle, ready to be applied; the networks are built once."""

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

    def predict(
        self,
        cases: Sequence[Case],
        images: PreparedImages | None,
        kept: KeptBatches | None = None,
    ) -> list[Prediction]:
        """Score patients with every model that can be used.

        Parameters
        ----------
        images : prepared, where a case has an image that a model looks at.
        kept : effects of the hospital's own batches, where it trained.
        """
        models = self.opened.bundle.models
        batches = batches_of(self.opened.bundle, cases, kept)
        tables = [self._tables(case, images) for case in cases]
        probabilities: dict[tuple[str, int], float] = {}
        for model, view in models.items():
            needed = base_tables(view)
            can = [place for place, found in enumerate(tables) if needed <= found.keys()]
            if not can:
                continue
            together = CaseTables.of([tables[i] for i in can], [cases[i] for i in can], batches)
            scored = materialise(view, together, _SUBSET).values[:, 0].tolist()
            if not all(0.0 <= one <= 1.0 for one in scored):
                raise InputError(f"{MODELS[model].label} gives no probability", where="bundle")
            probabilities |= {(model, place): p for place, p in zip(can, scored, strict=True)}
        for name in batches.steps:
            tables = _harmonised(name, tables, cases, batches)
        return [
            self._prediction(place, cases, tables, probabilities, batches)
            for place in range(len(cases))
        ]

    def _prediction(
        self,
        place: int,
        cases: Sequence[Case],
        tables: Sequence[Found],
        probabilities: Mapping[tuple[str, int], float],
        batches: Batches,
    ) -> Prediction:
        """Return all that was found of one of the patients."""
        case, found, bundle = cases[place], tables[place], self.opened.bundle
        scores = []
        for model, view in bundle.models.items():
            lacks = {_input_of(name) for name in base_tables(view) if name not in found}
            probability = probabilities.get((model, place))
            score = Score(model, probability, bundle.cutoffs[model], tuple(sorted(lacks)))
            scores.append(score)
        others = [c for c, own in zip(cases, tables, strict=True) if found.keys() <= own.keys()]
        how = batches.note(case, tuple(found), others)
        notes = [*_notes(case, scores), *self.ranges.unused(case.clinical or {})]
        notes += [how] if how else []
        return Prediction(case, tuple(scores), self._outside(case, found), tuple(notes))

    def _tables(self, case: Case, images: PreparedImages | None) -> Found:
        study, found = self.opened.study, {}
        if case.clinical is not None:
            values = clinical_table([as_patient(case)], study)
            found["clinical"] = (study.clinical_columns, values)
        if case.image is not None and images is not None:
            if images.has_features:
                found["radiomics"] = images.features("r1", [case.patient_id])
            for name, model in self.networks.items():
                found.update(self._network(network_name(name), model, case, images))
        return found

    def _network(
        self, kind: NetworkName, model: Any, case: Case, images: PreparedImages
    ) -> dict[str, tuple[tuple[str, ...], Float]]:
        patches, index = images.crops(kind, [case.patient_id])
        crops = Crops(patches, index, np.zeros(len(patches), dtype=np.float32))
        found = network_tables(self.opened.study, model, kind, "final", crops, 1, self.compute)
        if not all(np.isfinite(values).all() for _, values in found.values()):
            raise InputError(f"{MODELS[kind].label} gives no numbers", where="bundle")
        return found

    def _outside(self, case: Case, tables: Found) -> tuple[Outside, ...]:
        """List the values outside their range; harmonised ones, where the models take these."""
        found: list[Outside] = []
        if case.clinical is not None:
            found.extend(self.ranges.clinical(case.clinical))
        if "radiomics" in tables:
            columns, values = tables["radiomics"]
            found.extend(self.ranges.radiomics(columns, values[0]))
        for name in self.networks:
            if f"{name}/final/features" in tables:
                columns, values = tables[f"{name}/final/features"]
                found.extend(self.ranges.network(name, columns, values[0]))
        return tuple(found)


@dataclass(frozen=True)
class CaseTables:
    """Columns and values (n, p) of patients by name: a `common.transforms.views.TableReader`.

    Parameters
    ----------
    batch : (n,), codes of the patients' batches.
    kept : effects of the hospital's own batches, by table.
    """

    found: Found
    batch: Int
    kept: Mapping[str, BatchEffects]

    @staticmethod
    def of(found: Sequence[Found], cases: Sequence[Case], batches: Batches) -> CaseTables:
        """Return the tables that all of these patients have, one patient under the other."""
        shared = set.intersection(*(set(own) for own in found))
        stacked = {
            name: (columns, np.vstack([own[name][1] for own in found]))
            for name, (columns, _) in found[0].items()
            if name in shared
        }
        return CaseTables(stacked, batches.codes(cases), batches.kept)

    def read(self, name: str, subset: str) -> Rows:
        """Return the rows of a base table; KeyError where the patients have none."""
        columns, values = self.found[name]
        n = len(values)
        # a prediction has no label and no fold
        fold = np.full(n, -1, dtype=np.int64)
        return Rows(values, columns, np.zeros(n), fold, batch=self.batch)


def _harmonised(
    name: str, tables: Sequence[Found], cases: Sequence[Case], batches: Batches
) -> list[Found]:
    """Return the patients' tables with one of them as the models see it, before z-scores."""
    before, step = batches.steps[name]
    view = before.then(dataclasses.replace(step, kept=step.columns))
    can = [place for place, found in enumerate(tables) if base_tables(view) <= found.keys()]
    done = list(tables)
    if can:
        together = CaseTables.of([tables[i] for i in can], [cases[i] for i in can], batches)
        seen = materialise(view, together, _SUBSET)
        for place, row in zip(can, seen.values, strict=True):
            done[place] = {**tables[place], name: (seen.columns, row[None, :])}
    return done


def _input_of(table: str) -> str:
    return CLINICAL if table == "clinical" else IMAGE


def as_patient(case: Case) -> Patient:
    """Return a case as a patient without label and fold, for the tables."""
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
