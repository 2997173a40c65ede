"""Read the patients that are to be predicted: from options, or from a cohort.csv."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from client.check.finding import listed
from client.data.clinical_values import coded_value
from client.data.cohort import ONE_ROW, SCANNER, id_problem, names_scanners, stand_in
from client.data.cohort_file import (
    COLUMN,
    NOTHING,
    confirmed_words,
    near_misses,
    read_table,
    repeated_ids,
    row_number,
)
from client.imaging.preparation import PatientProblem
from client.imaging.source import split_roi
from client.store.batches import KeptBatches
from common.bundle.bundle import Bundle
from common.errors import InputError, UsageError
from common.learning.combat import BatchEffects
from common.statistics.base import Int
from common.study.model import ClinicalColumn, Study
from common.transforms.harmonise import OWN, Harmonise, harmonising_steps
from common.transforms.views import Table, View
from common.utils.text_file import plain_text

# a comma begins a new pair only where a name and "=" follow, so that a level may hold one
_NEXT_PAIR = re.compile(r",(?=\s*[A-Za-z0-9][A-Za-z0-9_.-]*\s*=)")


@dataclass(frozen=True)
class Case:
    """One patient.

    Parameters
    ----------
    patient_id : as given; empty where nobody gave one. It stands in the report, nowhere else.
    clinical : coded values of all clinical columns, NaN where missing; None = no clinical data.
    image, mask : both or neither.
    confirmed : findings of the mask's header that somebody has looked at and found right.
    scanner : the hospital's name of the scanner, where the study harmonises scanners.
    """

    patient_id: str
    clinical: Mapping[str, float] | None
    image: Path | None
    mask: Path | None
    confirmed: frozenset[str] = NOTHING
    scanner: str = ""


def case_of(
    study: Study,
    patient_id: str,
    image: Path | None,
    mask: Path | None,
    clinical: Sequence[str],
    confirmed: frozenset[str] = NOTHING,
    scanner: str = "",
) -> Case:
    """Return the patient that the options of the command describe.

    Parameters
    ----------
    clinical : texts like "age=63,sex=male".

    Raises
    ------
    UsageError : nothing given, an image without a contour, an unknown column, level or number.
    InputError : a file that is not there.
    """
    if (image is None) != (mask is None):
        given, lacking = ("--image", "--mask") if mask is None else ("--mask", "--image")
        raise UsageError(
            f"{given} without {lacking}",
            where="predict",
            remedy="give the CT and the contour of the tumour in it; without both, the models that"
            " need no image are used",
        )
    if image is None and not clinical:
        raise UsageError(
            "nothing is known of the patient",
            where="predict",
            remedy="give --image with --mask, --clinical, or --cohort",
        )
    for option, path in (("--image", image), ("--mask", mask)):
        if path is not None and not split_roi(path)[0].exists():
            raise InputError("no such file", where=path.name, remedy=f"correct {option}")
    values = _clinical_options(study, clinical)
    return Case(patient_id, values, image, mask, confirmed, plain_text(scanner))


def _clinical_options(study: Study, texts: Sequence[str]) -> dict[str, float] | None:
    known = {column.name: column for column in study.clinical}
    given: dict[str, float] = {}
    for pair in (
        pair for text in texts for pair in _NEXT_PAIR.split(plain_text(text)) if pair.strip()
    ):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or name not in known:
            raise UsageError(
                f'unknown clinical column "{name}"' if equals else f'"{pair}" is not NAME=VALUE',
                where="--clinical",
                remedy=f"known: {'; '.join(_told(c) for c in study.clinical) or 'none'}",
            )
        if name in given:
            raise UsageError(f"{name} is given twice", where="--clinical", remedy="give it once")
        try:
            given[name] = coded_value(value, known[name])
        except InputError as error:
            raise UsageError(
                error.what,
                where=f"--clinical {name}",
                remedy=f"known: {_told(known[name])}",
            ) from None
    if all(math.isnan(value) for value in given.values()):
        return None
    return {name: given.get(name, math.nan) for name in known}


def _told(column: ClinicalColumn) -> str:
    """Name a column and its permitted values."""
    if column.kind != "continuous":
        return f"{column.name} = {' | '.join(column.levels)}"
    unit = f" ({column.unit})" if column.unit else ""
    return f"{column.name} = a number{unit}"


def read_cases(path: Path, study: Study) -> tuple[list[Case], list[PatientProblem], list[str]]:
    """Read the patients of a cohort.csv, the problems of others, and remarks on the file.

    `label` and `split` are not needed and not looked at; neither are all other columns needed.

    Raises
    ------
    InputError : no such file, not CSV, no patient_id, a patient listed twice, no rows.
    """
    frame = _table(path, study)
    cases: list[Case] = []
    problems: list[PatientProblem] = []
    for position, row in zip(frame.index, frame.to_dict("records"), strict=True):
        texts = {str(k): str(v) for k, v in row.items()}
        number = row_number(position)
        name = texts["patient_id"] or stand_in(number)
        try:
            cases.append(_case_of_row(name, texts, path.parent, study))
        except InputError as error:
            where = f"{path.name} row {number} {error.where}".rstrip()
            problems.append(PatientProblem(name, where, error.what, error.remedy))
    return cases, problems, _lacking(frame, study)


def _table(path: Path, study: Study) -> pd.DataFrame:
    frame = read_table(path)
    known = ("patient_id", *(column.name for column in study.clinical), "image", "mask", COLUMN)
    known += (SCANNER,) if names_scanners(study) else ()
    for fault in near_misses(frame, known):
        raise InputError(fault.what, where=path.name, remedy=fault.remedy)
    if "patient_id" not in frame.columns:
        raise InputError("no column patient_id", where=path.name, remedy="give every row an id")
    if frame.empty:
        raise InputError("no patients", where=path.name, remedy="add a row for every patient")
    for patient, rows in repeated_ids(frame).items():
        what = f"duplicate patient {patient} (rows {listed([str(row) for row in rows])})"
        raise InputError(what, where=f"{path.name} column patient_id", remedy=ONE_ROW)
    return frame


def _case_of_row(name: str, row: Mapping[str, str], folder: Path, study: Study) -> Case:
    wrong = id_problem(row["patient_id"])
    if wrong is not None:
        raise InputError(wrong[0], where="column patient_id", remedy=wrong[1])
    clinical: dict[str, float] = {}
    for column in study.clinical:
        try:
            clinical[column.name] = coded_value(row.get(column.name, ""), column)
        except InputError as error:
            raise InputError(
                error.what, where=f"column {column.name}", remedy=error.remedy
            ) from None
    image, mask = row.get("image", ""), row.get("mask", "")
    if bool(image) != bool(mask):
        where = f"column {'mask' if image else 'image'}"
        raise InputError("empty", where=where, remedy="give image and contour, or neither")
    paths = [folder / text for text in (image, mask) if text]
    for path in paths:
        if not split_roi(path)[0].exists():
            raise InputError("no such file", where=f"file {path.name}", remedy="correct the path")
    known = any(not math.isnan(value) for value in clinical.values())
    if not known and not paths:
        raise InputError("nothing is known of the patient", where="", remedy="fill the cells")
    confirmed = confirmed_words(row.get(COLUMN, ""))
    given, contour = paths or (None, None)
    scanner = plain_text(row.get(SCANNER, "")) if names_scanners(study) else ""
    return Case(name, clinical if known else None, given, contour, confirmed, scanner)


def _lacking(frame: pd.DataFrame, study: Study) -> list[str]:
    """Name the missing columns: a misspelt name would otherwise be filled in silence."""
    gone = [column.name for column in study.clinical if column.name not in frame.columns]
    if not gone:
        return []
    return [f"The file has no column {', '.join(gone)}: taken as missing for every patient."]


_UNSEEN = "not of a hospital or scanner that the models were trained at"
_AS_OWN = "Features are harmonised as those of this hospital's training patients."
_BY_COHORT = (
    f"The patient is {_UNSEEN}: features are harmonised by estimates from the patients of this"
    " prediction, so without the others the numbers would differ a little."
)
_AS_THEY_ARE = f"The patient is {_UNSEEN}: features are used as they are."


@dataclass(frozen=True)
class Batches:
    """Codes of scanners, and the effects that a hospital keeps of its own batches.

    Parameters
    ----------
    steps : the harmonising step of each base table, and what leads to it.
    scanners : by code, those that the hospital trained with first.
    kept : by base table; empty where this is no hospital that trained.
    """

    steps: Mapping[str, tuple[View, Harmonise]]
    scanners: tuple[str, ...]
    kept: Mapping[str, BatchEffects]

    def codes(self, cases: Sequence[Case]) -> Int:
        """Return the code of each patient's batch (n,)."""
        return np.array([self.scanners.index(case.scanner) for case in cases], dtype=np.int64)

    def note(self, case: Case, tables: Sequence[str], others: Sequence[Case]) -> str:
        """Say how the features of these tables were harmonised; empty where none is.

        Parameters
        ----------
        others : all patients of the prediction that have these tables, this one included.
        """
        used = [name for name in tables if name in self.steps]
        if not used:
            return ""
        codes = self.codes([case])
        if all(name in self.kept and self.kept[name].seen(codes).all() for name in used):
            return _AS_OWN
        step = self.steps[used[0]][1]
        known = self.kept.get(used[0])
        everybody = self.codes(others)
        unseen = everybody.size if known is None else int((~known.seen(everybody)).sum())
        return _BY_COHORT if step.unseen == OWN and unseen >= step.fewest else _AS_THEY_ARE


def batches_of(bundle: Bundle, cases: Sequence[Case], kept: KeptBatches | None) -> Batches:
    """Return the batches of these patients under the models of a bundle."""
    steps: dict[str, tuple[View, Harmonise]] = {}
    for model in bundle.models.values():
        for before, step in harmonising_steps(model):
            if isinstance(before.source, Table):
                steps.setdefault(before.source.name, (before, step))
    own = kept.scanners if kept is not None else ()
    other = sorted({case.scanner for case in cases} - set(own))
    return Batches(steps, (*own, *other), kept.effects if kept is not None else {})
