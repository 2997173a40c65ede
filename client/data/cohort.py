"""Read and validate cohort.csv: the patients of one hospital.

An error in the file as a whole stops the site. An error in one patient is listed with row, column
and remedy, and leaves the patient out only if the site says so.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from client.data.clinical_values import coded_value
from client.data.cohort_file import (
    COLUMN,
    NOTHING,
    confirmed_words,
    missing_columns,
    near_misses,
    read_table,
    repeated_ids,
    row_number,
)
from client.data.folds import Reserve, deal, quotas
from client.imaging.source import split_roi
from common.errors import InputError
from common.messages.exchanges import READINGS
from common.statistics.base import Float
from common.study.follow_up import FollowUp
from common.study.model import ClinicalColumn, Study
from common.study.strata import asks_for_levels, dealt_columns
from common.utils.text_file import difference, nearest, number, on_one_line, plain_text

SPLITS = ("train", "internal_test", "external_test")
# pairs to compare: each reader with himself, and the two readers
READING_PAIRS = (("r1", "r1_repeat"), ("r1", "r2"), ("r2", "r2_repeat"))
# column of a pooled reference's table; no study can declare a column of this name
ORIGIN = "pooled:hospital"
SCANNER = "scanner"
ADD_COLUMN = "add the column (cells may be empty) or take it out of study.toml"
ONE_ROW = "keep one row per patient"
_STAND_IN = re.compile(r"\(row [0-9]+\)")


@dataclass(frozen=True)
class Patient:
    """One row of cohort.csv.

    `clinical` holds the coded values: a number, the index of the level, or NaN when missing.
    `origin` is the hospital the patient comes from: the site itself, unless a pooled reference
    holds several hospitals' patients and puts `prefix` before their ids. `confirmed` are findings
    of the masks' headers that the hospital has checked and confirmed. `scanner` is the hospital's
    own name of one, empty unless the study harmonises scanners; it stays there. `period` is that of
    the study's grid in which the follow-up ended, None where the endpoint has no time.
    """

    patient_id: str
    origin: str
    label: int
    split: str
    fold: int
    clinical: Mapping[str, float]
    image: Path | None
    masks: Mapping[str, Path]
    prefix: str = ""
    confirmed: frozenset[str] = NOTHING
    scanner: str = ""
    period: int | None = None

    @property
    def own_id(self) -> str:
        """Id at the patient's own hospital."""
        return self.patient_id.removeprefix(self.prefix)


@dataclass(frozen=True)
class RowProblem:
    """Error that excludes one patient; `column` is the one of cohort.csv."""

    patient_id: str
    where: str
    what: str
    remedy: str
    column: str

    def __str__(self) -> str:
        return f"{self.patient_id}: {self.where}: {self.what} -> {self.remedy}"


@dataclass
class Cohort:
    """Usable patients, and the errors of the others."""

    site: str
    patients: list[Patient]
    problems: list[RowProblem] = field(default_factory=list)

    def subset(self, study: Study, name: str) -> list[Patient]:
        """Return the patients of "train" or of a test set, in cohort order."""
        if name == "train":
            return [p for p in self.patients if p.split == "train"]
        test = study.test_set(name)
        return [p for p in self.patients if p.split == test.split and p.origin in test.hospitals]


def read_cohort(data: Path, site: str, study: Study, *, pooled: bool = False) -> Cohort:
    """Read and check `data/cohort.csv`.

    Parameters
    ----------
    pooled : the column `ORIGIN` names each patient's hospital; elsewhere it means nothing.

    Raises
    ------
    InputError : no such file, not CSV, a missing column, a patient listed twice, no rows at all.
    """
    path = data / "cohort.csv"
    frame = read_table(path)
    for fault in near_misses(frame, known_columns(study)):
        raise InputError(fault.what, where=str(path), remedy=fault.remedy)
    missing = missing_columns(frame, study)
    if missing:
        raise InputError(f"missing column {', '.join(missing)}", where=str(path), remedy=ADD_COLUMN)
    if frame.empty:
        raise InputError("no patients", where=str(path), remedy="add a row for every patient")
    twice = repeated_ids(frame)
    if twice:
        patient, rows = next(iter(twice.items()))
        raise InputError(
            f"duplicate patient {patient} (rows {', '.join(map(str, rows))})",
            where=f"{path} column patient_id",
            remedy=ONE_ROW,
        )
    return read_rows(frame, data, site, study, pooled=pooled)


def known_columns(study: Study) -> tuple[str, ...]:
    """Return the columns of cohort.csv that a study can use, optional ones included."""
    own = ("patient_id", "label", "split", *(column.name for column in study.clinical))
    files = ("image", "mask", *(f"mask_{reading}" for reading in READINGS), COLUMN)
    scanner = (SCANNER,) if names_scanners(study) else ()
    own += (study.follow_up.column,) if study.follow_up else ()
    return own + ((*files, *scanner) if study.needs_images else ())


def names_scanners(study: Study) -> bool:
    """Return whether the study harmonises the scanners that the column `SCANNER` names."""
    return bool(study.harmonisation.tables) and study.harmonisation.batch == "scanner"


def stand_in(row: object) -> str:
    """Return the name of a row without an id."""
    return f"(row {row})"


def id_problem(patient: str) -> tuple[str, str] | None:
    """Return the error in a patient's id and its remedy, or None."""
    if not patient:
        return "empty", "give every patient an id"
    if _STAND_IN.fullmatch(patient):
        return "an id like the name of a row without one", "give the patient another id"
    if patient[0] in "#='\u2018\u2019`":
        remedy = "write the id alone, without the mark of a spreadsheet or a comment"
        return f"an id cannot begin with {patient[0]}", remedy
    return None


def path_remedy(data: Path, text: str) -> str:
    """Describe where a path of cohort.csv leaves the existing folders.

    Parameters
    ----------
    data : the folder of cohort.csv.
    text : a cell that leads to no file.
    """
    if "://" in text:
        return "give the path of a file, relative to cohort.csv, instead of an address"
    if "\\" in text:
        return "write / between folders, as in images/ct.nii.gz"
    at = data
    for part in Path(text).parts:
        if not (at / part).exists():
            break
        at /= part
    else:
        return "correct the path"
    names = sorted(one.name for one in at.iterdir()) if at.is_dir() else []
    near = nearest(part.partition("#")[0], names)
    if near is not None:
        return f"correct the path: {difference(part.partition('#')[0], near)}"
    return f'correct the path: the folder "{at.name}" has nothing called "{on_one_line(part)}"'


def read_rows(
    frame: pd.DataFrame, data: Path, site: str, study: Study, *, pooled: bool = False
) -> Cohort:
    """Return the patients of a table that has all columns, every patient once.

    Parameters
    ----------
    frame : from `read_table`; its index tells the rows of the file.
    """
    readings = [r for r in READINGS if f"mask_{r}" in frame.columns] if study.needs_images else []
    cohort = Cohort(site=site, patients=[])
    for position, row in zip(frame.index, frame.to_dict("records"), strict=True):
        where = f"cohort.csv row {row_number(position)}"
        cells = {str(name): str(cell) for name, cell in row.items()}
        reader = _RowReader(cells, where, data)
        origin = cells[ORIGIN] if pooled else site
        patient = reader.patient(origin, study, readings, prefix=f"{origin}/" if pooled else "")
        cohort.problems.extend(reader.problems)
        if not reader.problems:
            cohort.patients.append(patient)
    cohort.patients = assign_folds(cohort.patients, study)
    return cohort


class _RowReader:
    """Reader of one row, which collects all its errors."""

    def __init__(self, row: dict[str, str], where: str, data: Path) -> None:
        self.row, self.where, self.data = row, where, data
        self.patient_id = row["patient_id"] or stand_in(where.rsplit(" ", 1)[-1])
        self.problems: list[RowProblem] = []

    def problem(self, column: str, what: str, remedy: str) -> None:
        place = f"{self.where} column {column}"
        self.problems.append(RowProblem(self.patient_id, place, what, remedy, column))

    def patient(
        self, origin: str, study: Study, readings: list[str], *, prefix: str = ""
    ) -> Patient:
        """Return the row as a patient; valid only while `problems` stays empty."""
        wrong = id_problem(self.row["patient_id"].removeprefix(prefix))
        if wrong is not None:
            self.problem("patient_id", *wrong)
        split = plain_text(self.row["split"])
        if split not in SPLITS:
            what = f'unknown split "{on_one_line(split)}"'
            self.problem("split", what, f"use one of {', '.join(SPLITS)}")
        label = self._label()
        clinical = {c.name: self._clinical(c) for c in study.clinical}
        image, masks = self._files(readings) if study.needs_images else (None, {})
        confirmed = self._confirmed() if study.needs_images else NOTHING
        scanner = plain_text(self.row.get(SCANNER, "")) if names_scanners(study) else ""
        label, period = self._follow_up(study.follow_up, label)
        return Patient(
            *(self.patient_id, origin, label, split, -1, clinical, image, masks, prefix, confirmed),
            scanner=scanner,
            period=period,
        )

    def _follow_up(self, grid: FollowUp | None, label: int) -> tuple[int, int | None]:
        """Return label and period within the grid; None where the endpoint has no time."""
        if grid is None:
            return label, None
        text = self.row[grid.column]
        time = number(text)
        if time is None or not 0.0 <= time < math.inf:
            what = f'"{on_one_line(text)}" is no time' if text else "empty"
            remedy = f"give the {grid.unit} from the start to the endpoint, or to when last seen"
            self.problem(grid.column, what, remedy)
            return label, 0
        period, happened = grid.place(time, bool(label))
        return int(happened), period

    def _confirmed(self) -> frozenset[str]:
        try:
            return confirmed_words(self.row.get(COLUMN, ""))
        except InputError as error:
            self.problem(COLUMN, error.what, error.remedy)
            return NOTHING

    def _label(self) -> int:
        text = self.row["label"]
        value = number(text)
        if value not in (0.0, 1.0):
            what = f'"{on_one_line(text)}" is not 0 or 1'
            self.problem("label", what, "1 = positive, 0 = negative")
            return 0
        return int(value)

    def _clinical(self, column: ClinicalColumn) -> float:
        try:
            return coded_value(self.row[column.name], column)
        except InputError as error:
            self.problem(column.name, error.what, error.remedy)
            return math.nan

    def _files(self, readings: list[str]) -> tuple[Path | None, dict[str, Path]]:
        image = self._file("image")
        masks: dict[str, Path] = {}
        main = self._file("mask")
        if main is not None:
            masks["r1"] = main
        for reading in readings:
            if self.row[f"mask_{reading}"]:
                path = self._file(f"mask_{reading}")
                if path is not None:
                    masks[reading] = path
        return image, masks

    def _file(self, column: str) -> Path | None:
        text = self.row[column]
        if not text:
            self.problem(column, "empty", "give the path relative to cohort.csv")
            return None
        path = self.data / text
        if not split_roi(path)[0].exists():
            self.problem(column, f"missing file {Path(text).name}", path_remedy(self.data, text))
            return None
        return path


def assign_folds(
    patients: list[Patient], study: Study, totals: Float | None = None
) -> list[Patient]:
    """Assign cross-validation folds, stratified by label and by rare levels within the hospital.

    The order within hospital and label comes from a hash of the study's seed and the patient id, so
    it is the same in a federated and in a pooled run and does not depend on the file's order. See
    `client.data.folds`.

    Parameters
    ----------
    totals : (columns, levels), training patients of all hospitals with each level. Before they are
        known labels alone decide; a hospital that trains alone knows them.
    """
    training = [p for p in patients if p.split == "train"]
    origins = sorted({p.origin for p in training})
    if totals is None and not asks_for_levels(study):
        everyone = _levels(training, study).sum(axis=0).astype(np.float64)
    elif totals is not None:
        sizes = [len(column.levels) for column in dealt_columns(study)]
        everyone = np.array([n for row, k in zip(totals, sizes, strict=True) for n in row[:k]])
    else:
        everyone = None
    # a pooled reference is a study of one site, with the patients of all hospitals
    hospitals = max(len(study.training_sites), len(origins), 1)
    fold_of: dict[str, int] = {}
    for origin in origins:
        own = [p for p in training if p.origin == origin]
        own.sort(key=lambda p: (p.label, _hash(study.seed, origin, p.own_id)))
        folds = _dealt(own, study, everyone, hospitals)
        fold_of |= {p.patient_id: fold for p, fold in zip(own, folds.tolist(), strict=True)}
    return [
        Patient(**{**vars(p), "fold": fold_of.get(p.patient_id, -1)}) if p.split == "train" else p
        for p in patients
    ]


def _dealt(
    patients: Sequence[Patient], study: Study, everyone: Float | None, hospitals: int
) -> NDArray[np.int64]:
    """Return the fold of each patient of one hospital, sorted by label and then at random.

    Parameters
    ----------
    everyone : (levels,), patients of so many hospitals with each; None = not known.
    """
    folds, privacy = study.folds, study.privacy
    labels = np.array([p.label for p in patients], dtype=np.int64)
    if everyone is None:
        return np.arange(labels.size) % folds
    has = _levels(patients, study)
    own, fewest = has.sum(axis=0).astype(np.float64), privacy.min_category
    wanted = quotas(own, everyone, hospitals, folds, fewest, study.seed)
    reserve = Reserve(privacy.min_class_per_fold, privacy.min_rows_per_fold)
    return deal(labels, has, folds, wanted, reserve)


def _levels(patients: Sequence[Patient], study: Study) -> NDArray[np.bool_]:
    """Tell which level of the columns that decide the folds each patient has (n, levels)."""
    columns = dealt_columns(study)
    coded = np.array([[p.clinical[c.name] for c in columns] for p in patients])
    coded = coded.reshape(len(patients), len(columns))
    blocks = [coded[:, [i]] == np.arange(len(c.levels)) for i, c in enumerate(columns)]
    return np.hstack([np.zeros((len(patients), 0), dtype=bool), *blocks])


def _hash(seed: int, origin: str, own_id: str) -> str:
    return hashlib.sha256(f"{seed}/{origin}/{own_id}".encode()).hexdigest()


def check_cohort(cohort: Cohort, study: Study) -> None:
    """Check that the usable patients are those that the study expects of this site.

    Raises
    ------
    InputError : no training rows, one class only, or none for a test set that names the site.
    """
    for shortfall in shortfalls(cohort, study):
        raise shortfall


def shortfalls(cohort: Cohort, study: Study) -> Iterator[InputError]:
    """Yield everything that `check_cohort` would refuse."""
    entry = next((s for s in study.sites if s.name == cohort.site), None)
    where = f"site {cohort.site}, cohort.csv"
    if entry is None:
        yield InputError(
            f"the study has no site called {cohort.site}",
            where=f"site {cohort.site}",
            remedy=f"use one of {', '.join(study.site_names)}",
        )
        return
    labels = [p.label for p in cohort.subset(study, "train")]
    if entry.trains and not labels:
        yield InputError(
            "no training rows (split = train)",
            where=where,
            remedy="add training patients or set trains = false for this site in study.toml",
        )
    if entry.trains and len(set(labels)) == 1:
        yield InputError(
            f"one class only: all {len(labels)} training rows have label {labels[0]}",
            where=where,
            remedy="a training site needs both classes; set trains = false to test only",
        )
    for test in study.test_sets:
        if cohort.site in test.sites and not cohort.subset(study, test.name):
            yield InputError(
                f"no rows with split {test.split} for the test set {test.name}",
                where=where,
                remedy="add them, or take the site out of that test set in study.toml",
            )
