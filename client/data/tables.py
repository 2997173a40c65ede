"""Base tables of a site, row-aligned for one subset of its patients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from client.data.cohort import Cohort, Patient
from client.store.run_files import RunTables, StoredTable
from common.statistics.base import Float, Int, Rows
from common.study.model import Study
from common.transforms import KernelMap, Linear
from common.transforms.views import SLICES, TableReader, View, base_tables, materialise


class FeatureSource(Protocol):
    """Source of what was made of the images: radiomics features and axial slices."""

    def features(self, reading: str, patients: Sequence[str]) -> tuple[tuple[str, ...], Float]:
        """Return names, and values (patients, features) with NaN rows for missing readings."""

    def slices(self, patients: Sequence[str]) -> Float:
        """Count the axial slices of each patient, (patients,)."""


def clinical_table(patients: Sequence[Patient], study: Study) -> Float:
    """Return the clinical table (patients, columns); NaN in all columns of a missing value."""
    blocks: list[Float] = [np.zeros((len(patients), 0))]
    for column in study.clinical:
        coded = np.array([p.clinical[column.name] for p in patients], dtype=np.float64)
        if column.kind in ("continuous", "ordinal"):
            blocks.append(coded[:, None])
            continue
        levels = np.arange(1, len(column.levels))
        block = (coded[:, None] == levels[None, :]).astype(np.float64)
        block[np.isnan(coded)] = np.nan
        blocks.append(block)
    return np.hstack(blocks)


def coded_table(patients: Sequence[Patient], study: Study) -> Float:
    """Return the clinical columns (patients, columns) as numbers and level indices, for Table 1."""
    rows = [[p.clinical[c.name] for c in study.clinical] for p in patients]
    return np.array(rows, dtype=np.float64).reshape(len(patients), len(study.clinical))


class SiteTables:
    """`common.transforms.views.TableReader` over a cohort."""

    def __init__(
        self, cohort: Cohort, study: Study, run: RunTables, features: FeatureSource | None
    ) -> None:
        self._cohort, self._study, self._run, self._features = cohort, study, run, features
        self._batches = batch_names(cohort.patients)
        self._loaded: dict[tuple[str, str], Rows] = {}
        self._made_by: dict[tuple[str, str], str] = {}

    @property
    def trains(self) -> bool:
        """True at a hospital whose patients train the models."""
        return self._cohort.site in self._study.training_sites

    @property
    def scanners(self) -> tuple[str, ...]:
        """Names of the scanners, by the code in `Rows.batch`."""
        return tuple(scanner for _, scanner in self._batches)

    def read(self, name: str, subset: str) -> Rows:
        """Return the rows of a base table.

        Raises
        ------
        KeyError : no such table at this site.
        """
        key = (name, subset)
        if key in self._loaded:
            return self._loaded[key]
        rows = self._read(name, subset)
        # tables of a run may be written again with other content; base tables never change
        if name in ("clinical", "coded", SLICES) or name.startswith("radiomics"):
            self._loaded[key] = rows
        return rows

    def forget(self) -> None:
        """Read all tables anew: patients have changed folds."""
        self._loaded.clear()

    def made_by(self, view: View, subset: str) -> tuple[str, ...]:
        """Return digests of what made the tables of the run that a view was last read from."""
        names = sorted(base_tables(view))
        return tuple(
            self._made_by[name, subset] for name in names if (name, subset) in self._made_by
        )

    def _read(self, name: str, subset: str) -> Rows:
        patients = self._cohort.subset(self._study, subset)
        if name == "clinical":
            columns, values = self._study.clinical_columns, clinical_table(patients, self._study)
        elif name == "coded":
            columns = tuple(c.name for c in self._study.clinical)
            values = coded_table(patients, self._study)
        elif name == SLICES and self._features is not None:
            columns = (SLICES,)
            values = self._features.slices([p.patient_id for p in patients])[:, np.newaxis]
        elif name.split(":")[0] == "radiomics" and self._features is not None:
            reading = name.partition(":")[2] or "r1"
            columns, values = self._features.features(reading, [p.patient_id for p in patients])
        else:
            columns, values = self._stored(name, subset, patients)
        return Rows(
            values=values,
            columns=columns,
            label=np.array([p.label for p in patients], dtype=np.float64),
            fold=np.array([p.fold for p in patients], dtype=np.int64),
            origin=_origins(patients),
            batch=_codes(patients, self._batches),
            period=_periods(patients, self._study),
        )

    def _stored(
        self, name: str, subset: str, patients: list[Patient]
    ) -> tuple[tuple[str, ...], Float]:
        table = self._run.read(name, subset)
        self._made_by[name, subset] = table.made_by
        place = {patient: i for i, patient in enumerate(table.patients)}
        rows = [place[p.patient_id] for p in patients]
        return table.columns, table.values[rows]


def _origins(patients: Sequence[Patient]) -> Int | None:
    """Return one number per hospital, None where all patients are of one."""
    names = sorted({patient.origin for patient in patients})
    if len(names) < 2:
        return None
    return np.array([names.index(patient.origin) for patient in patients], dtype=np.int64)


def batch_names(patients: Sequence[Patient]) -> tuple[tuple[str, str], ...]:
    """Return hospital and scanner of every batch among all patients of a site, sorted."""
    return tuple(sorted({(patient.origin, patient.scanner) for patient in patients}))


def _periods(patients: Sequence[Patient], study: Study) -> Int | None:
    """Return the period in which each follow-up ended, None where the endpoint has no time."""
    if study.follow_up is None:
        return None
    return np.array([patient.period for patient in patients], dtype=np.int64)


def _codes(patients: Sequence[Patient], names: tuple[tuple[str, str], ...]) -> Int | None:
    """Return one number per batch, None where all patients of the site are of one."""
    if len(names) < 2:
        return None
    codes = [names.index((patient.origin, patient.scanner)) for patient in patients]
    return np.array(codes, dtype=np.int64)


def selected_table(model: str) -> str:
    """Name the table of the features that a base model selected."""
    return f"selected/{model}"


def keep_selected(
    run: RunTables,
    tables: TableReader,
    study: Study,
    models: Mapping[str, View],
    subset: str,
    patients: tuple[str, ...],
    made_by: str,
) -> None:
    """Write the features that enter each machine on a model's own features, for `site report`.

    Parameters
    ----------
    models : final models of the bundle.
    made_by : digest of the bundle.
    """
    for name, view in _machines(study, models):
        rows = materialise(view, tables, subset)
        run.write(
            selected_table(name), subset, StoredTable(patients, rows.columns, rows.values, made_by)
        )


def _machines(study: Study, models: Mapping[str, View]) -> Iterator[tuple[str, View]]:
    """Yield each base model that is a machine, with the view of what enters it."""
    for name in study.base_models:
        if name not in models or not study.fits_machine(name):
            continue
        steps = models[name].transforms
        place = next((i for i, s in enumerate(steps) if isinstance(s, Linear | KernelMap)), 0)
        if place:
            yield name, View(source=models[name].source, transforms=steps[:place])
