"""cohort.csv: everything that is wrong with the file and its rows, not the first thing only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from client.check.finding import (
    Finding,
    Findings,
    not_checked,
    ok,
    or_ok,
    problem,
    problem_of,
    warning,
)
from client.check.identifiers import plain_id
from client.cohort import (
    ADD_COLUMN,
    ONE_ROW,
    Cohort,
    RowProblem,
    read_rows,
)
from client.cohort_file import missing_columns, read_table, repeated_ids, row_number
from client.confirmed import COLUMN as CONFIRMED
from common.errors import InputError
from common.study import Study

CORE = ("patient_id", "label", "split")
FILES = ("image.missing", "mask.missing")
_KIND = {
    "patient_id": "cohort.id",
    "label": "cohort.label",
    "split": "cohort.split",
    CONFIRMED: "mask.confirmed",
}
_CELLS = ("cohort.id", "cohort.label", "cohort.split", "cohort.level", "cohort.number")
_IDS = ("cohort.duplicate", "cohort.two_splits")


@dataclass(frozen=True)
class CohortLook:
    """What became of cohort.csv.

    Parameters
    ----------
    frame : the file's cells; None where it cannot be read.
    cohort : patients whose rows are right; None where rows cannot be read.
    """

    frame: pd.DataFrame | None
    cohort: Cohort | None
    findings: tuple[Finding, ...]


def look_at_rows(data: Path, site: str, study: Study) -> CohortLook:
    """Read `data/cohort.csv` as far as it can be read."""
    path = data / "cohort.csv"
    files = FILES if study.needs_images else ()
    rest = (*_IDS, *_CELLS, *files)
    try:
        frame = read_table(path)
        if frame.empty:
            raise InputError("no patients", where=str(path), remedy="add a row for every patient")
    except InputError as error:
        why = not_checked(("cohort.columns", *rest), "cohort.csv cannot be read")
        return CohortLook(None, None, (problem_of("cohort.file", error), *why))
    missing = missing_columns(frame, study)
    head = (ok("cohort.file", f"{len(frame)} rows"), *_columns(missing, len(frame.columns)))
    unreadable = {*CORE, *(("image", "mask") if study.needs_images else ())} & set(missing)
    if unreadable:
        why = not_checked(rest, f"no column {', '.join(sorted(unreadable))}")
        return CohortLook(frame, None, (*head, *why))
    once = _first_rows(frame.assign(**dict.fromkeys(missing, "")))
    cohort = read_rows(once, data, site, study)
    fine = dict.fromkeys((*_CELLS, *files), f"{len(once)} rows")
    cells = or_ok(_cells(cohort.problems, study), fine)
    return CohortLook(frame, cohort, (*head, *_repeated(frame), *cells))


def _columns(missing: Iterable[str], there: int) -> Findings:
    found = [
        problem("cohort.columns", "cohort.csv", f"missing column {name}", ADD_COLUMN)
        for name in missing
    ]
    return or_ok(found, {"cohort.columns": f"{there} columns"})


def _repeated(frame: pd.DataFrame) -> Findings:
    """Patients in several rows, and ids that may be the same patient's."""
    found: list[Finding] = []
    for patient, rows in repeated_ids(frame).items():
        splits = {str(frame["split"].loc[row - row_number(0)]) for row in rows}
        listed = f"rows {', '.join(map(str, rows))}"
        if len(splits) > 1:
            what = f"one patient in the splits {' and '.join(sorted(splits))} ({listed})"
            remedy = "keep one row; whoever trains a model must not test it"
            found.append(problem("cohort.two_splits", patient, what, remedy))
        else:
            what = f"duplicate patient ({listed})"
            found.append(problem("cohort.duplicate", patient, what, ONE_ROW))
    ids = frame["patient_id"]
    return or_ok((*found, *_alike(ids)), dict.fromkeys(_IDS, f"{ids.nunique()} patients"))


def _alike(ids: pd.Series) -> Findings:
    """Ids that differ in case, punctuation or leading zeros alone."""
    groups: dict[str, set[str]] = defaultdict(set)
    for patient in ids:
        groups[plain_id(patient)].add(patient)
    for plain, group in groups.items():
        if plain and len(group) > 1:
            yield warning(
                "cohort.duplicate",
                ", ".join(sorted(group)),
                "ids that differ in case, punctuation or zeros alone",
                "make sure that they are different patients",
            )


def _first_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with the first row of every patient; rows without an id stay."""
    ids = frame["patient_id"]
    return frame[(ids == "") | ~ids.duplicated()]


def _cells(problems: Iterable[RowProblem], study: Study) -> Findings:
    numbers = {column.name for column in study.clinical if column.kind == "continuous"}
    for found in problems:
        if found.column == "image":
            kind = "image.missing"
        elif found.column.startswith("mask"):
            kind = "mask.missing"
        else:
            other = "cohort.number" if found.column in numbers else "cohort.level"
            kind = _KIND.get(found.column, other)
        where = f"{found.patient_id}: {found.where}"
        yield problem(kind, where, found.what, found.remedy)
