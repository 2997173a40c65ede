"""Check cohort.csv: its rows, classes and clinical values."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from client.check.finding import (
    Finding,
    Findings,
    Severity,
    listed,
    not_checked,
    ok,
    or_ok,
    problem,
    problem_of,
    warning,
)
from client.check.naming import plain_id
from client.data.cohort import (
    ADD_COLUMN,
    ONE_ROW,
    SPLITS,
    Cohort,
    RowProblem,
    known_columns,
    read_rows,
    shortfalls,
)
from client.data.cohort_file import COLUMN as CONFIRMED
from client.data.cohort_file import (
    ends_in_a_line,
    missing_columns,
    near_misses,
    read_table,
    repeated_ids,
    row_number,
    same_patient,
)
from client.data.table_text import Fault, TableError
from common.errors import InputError
from common.study.model import Study
from common.utils.text_file import difference, may_be_drawn_alike, number, plain_text

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
_DECIMAL = re.compile(r"[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?$|[0-9]+[eE][+-]?[0-9]+$")
_SUMMARIES = re.compile(
    "totals?|sum|mean|average|median|min|max|sd|std|count|summe|gesamt|mittel(wert)?|anzahl"
    "|somme|moyenne|media"
)
_WHOLE, _GROUPED = re.compile(r"[+-]?[0-9]+"), re.compile(r"[+-]?[1-9][0-9]{0,2}\.[0-9]{3}")


@dataclass(frozen=True)
class CohortLook:
    """Result of reading cohort.csv.

    Parameters
    ----------
    frame : the file's cells; None where it cannot be read.
    cohort : patients whose rows are right; None where rows cannot be read.
    """

    frame: pd.DataFrame | None
    cohort: Cohort | None
    findings: tuple[Finding, ...]


def check_rows(data: Path, site: str, study: Study) -> CohortLook:
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
        return CohortLook(None, None, (*_file_problems(error), *why))
    missing = missing_columns(frame, study)
    misses = near_misses(frame, known_columns(study))
    head = (*_whole(path, len(frame)), *_columns(missing, misses, len(frame.columns)))
    unreadable = {*CORE, *(("image", "mask") if study.needs_images else ())} & set(missing)
    if unreadable:
        why = not_checked(rest, f"no column {', '.join(sorted(unreadable))}")
        return CohortLook(frame, None, (*head, *why))
    once = _first_rows(frame.assign(**dict.fromkeys(missing, "")))
    cohort = read_rows(once, data, site, study)
    fine = dict.fromkeys((*_CELLS, *files), f"{len(once)} rows")
    cells = or_ok((*_cells(cohort.problems, study), *_doubtful(frame, site, study)), fine)
    return CohortLook(frame, cohort, (*head, *_repeated(frame), *cells))


def _file_problems(error: InputError) -> Findings:
    """Yield every fault of a file that cannot be read."""
    if not isinstance(error, TableError):
        yield problem_of("cohort.file", error)
        return
    for fault in error.faults:
        yield problem("cohort.file", f"cohort.csv {fault.place}".rstrip(), fault.what, fault.remedy)


def _whole(path: Path, rows: int) -> Findings:
    """Yield the number of rows, or a warning where the file may be truncated."""
    if ends_in_a_line(path):
        yield ok("cohort.file", f"{rows} rows")
        return
    yield warning(
        "cohort.file",
        "cohort.csv",
        f"{rows} rows, the last of which does not end with a line break",
        "make sure that the file is complete: of a copy that was cut off, the last value is wrong",
    )


def _columns(missing: Iterable[str], misses: Iterable[Fault], there: int) -> Findings:
    found = [
        problem("cohort.columns", "cohort.csv", f"missing column {name}", ADD_COLUMN)
        for name in missing
    ]
    found += [problem("cohort.columns", "cohort.csv", miss.what, miss.remedy) for miss in misses]
    return or_ok(found, {"cohort.columns": f"{there} columns"})


def _repeated(frame: pd.DataFrame) -> Findings:
    """Find patients in several rows, and ids that may belong to the same patient."""
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


def _doubtful(frame: pd.DataFrame, site: str, study: Study) -> Findings:
    """Find cells that can be read but are probably not meant."""
    ids = [row_number(at) for at, patient in frame["patient_id"].items() if _DECIMAL.match(patient)]
    if ids:
        yield warning(
            "cohort.id",
            f"cohort.csv column patient_id, {_rows(ids)}",
            "ids written as decimal numbers: a program may have rounded them or dropped zeros",
            "export the column as text",
        )
    sums = [row_number(at) for at, name in frame["patient_id"].items() if _is_summary(name)]
    if sums:
        yield warning(
            "cohort.id",
            f"cohort.csv column patient_id, {_rows(sums)}",
            "an id that reads like a line of totals",
            "delete the line if it is not a patient",
        )
    yield from _unused(frame, site, study)
    yield from _other_unit(frame, study)
    for column in study.clinical:
        if column.kind == "continuous" and column.name in frame.columns:
            rows = _thousands(frame[column.name])
            if rows and column.decimals is None:
                yield warning(
                    "cohort.number",
                    f"cohort.csv column {column.name}, {_rows(rows)}",
                    "numbers with three decimals among whole ones: the point may separate"
                    " thousands, so that 1.234 is meant for 1234",
                    "write thousands without a separator",
                )


def _other_unit(frame: pd.DataFrame, study: Study) -> Findings:
    """Find times that look as if they were in another unit than the study's."""
    grid = study.follow_up
    if grid is None or grid.column not in frame.columns:
        return
    times = [time for cell in frame[grid.column] if (time := number(cell)) is not None]
    for where, count in (
        (f"beyond {grid.ends[-1]:g}", sum(time > grid.ends[-1] for time in times)),
        (f"up to {grid.ends[0]:g}", sum(time <= grid.ends[0] for time in times)),
    ):
        if count > 0.8 * len(times):
            yield warning(
                "cohort.number",
                f"cohort.csv column {grid.column}",
                f"{count} of {len(times)} times are {where} {grid.unit}: they may be in another"
                " unit",
                f"give times in {grid.unit}",
            )


def _unused(frame: pd.DataFrame, site: str, study: Study) -> Findings:
    """Find splits that no part of the study uses."""
    used = {test.split for test in study.test_sets if site in test.hospitals}
    used |= {"train"} if site in study.training_sites else set()
    for split in SPLITS:
        count = int((frame["split"].map(plain_text) == split).sum())
        if count and split not in used and site in study.site_names:
            yield warning(
                "cohort.split",
                "cohort.csv column split",
                f"{count} row{'s' if count > 1 else ''} with {split}, which the study does not use"
                " at this site",
                "make sure that these patients are to be left out",
            )


def _thousands(cells: pd.Series) -> list[int]:
    """Return the rows of a column whose points may all separate thousands."""
    whole = [cell for cell in cells if _WHOLE.fullmatch(cell)]
    rows = [row_number(at) for at, cell in cells.items() if _GROUPED.fullmatch(cell)]
    others = len([cell for cell in cells if cell]) - len(whole) - len(rows)
    # below 1000 there is nothing to separate
    return rows if whole and not others and max(map(len, whole)) <= 3 else []


def _is_summary(patient: str) -> bool:
    """Return whether an id looks like a summary row that spreadsheets put below a table."""
    words = re.findall(r"[^\W\d_]+", patient.casefold())
    summary = bool(words) and _SUMMARIES.fullmatch(words[0]) is not None
    return summary and not re.search("[0-9]", patient)


def _rows(numbers: list[int]) -> str:
    return f"row{'s' if len(numbers) > 1 else ''} {listed([str(number) for number in numbers])}"


def _drawn_alike(ids: Sequence[str]) -> Findings:
    """Find ids that hold a letter or digit of another script and look like another id."""
    for patient in ids:
        if patient.isascii():
            continue
        twins = [one for one in ids if one != patient and may_be_drawn_alike(one, patient)]
        twins = [one for one in twins if plain_id(one) != plain_id(patient)]
        if twins and (patient < twins[0] or twins[0].isascii()):
            yield warning(
                "cohort.duplicate",
                f"{twins[0]}, {patient}",
                f"ids that look the same: {difference(twins[0], patient)}",
                "make sure that they are different patients",
            )


def _alike(ids: pd.Series) -> Findings:
    """Find ids that differ in case, punctuation or leading zeros alone, or only look the same."""
    yield from _drawn_alike(list(dict.fromkeys(ids)))
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
    """Return the first row of every patient; rows without an id stay."""
    ids = frame["patient_id"]
    return frame[(ids == "") | ~ids.map(same_patient).duplicated()]


def _cells(problems: Iterable[RowProblem], study: Study) -> Findings:
    numbers = {column.name for column in study.clinical if column.kind == "continuous"}
    numbers |= {study.follow_up.column} if study.follow_up else set()
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


Counts = tuple[int, int]


@dataclass(frozen=True)
class ClassCounts:
    """Counts of patients and positives.

    Parameters
    ----------
    subsets : of "train" and the test sets, where there are any.
    folds : of the training folds; empty where the site does not train.
    """

    subsets: Mapping[str, Counts]
    folds: tuple[Counts, ...]


def count(cohort: Cohort, study: Study) -> ClassCounts:
    """Count patients of a cohort with assigned folds."""
    subsets: dict[str, Counts] = {}
    for name in ("train", *(test.name for test in study.test_sets)):
        own = cohort.subset(study, name)
        if own:
            subsets[name] = (len(own), sum(patient.label for patient in own))
    training = cohort.subset(study, "train") if cohort.site in study.training_sites else []
    folds = [(0, 0)] * study.folds if training else []
    for patient in training:
        n, positives = folds[patient.fold]
        folds[patient.fold] = (n + 1, positives + patient.label)
    return ClassCounts(subsets, tuple(folds))


def check_counts(cohort: Cohort, study: Study, counts: ClassCounts) -> Findings:
    """Check that the site has the expected patients, and both classes in every fold.

    A fold of one class is a problem unless the study allows it (min_class_per_fold = 0).
    """
    short = [problem_of("counts.subset", error) for error in shortfalls(cohort, study)]
    sizes = ", ".join(f"{name} {n} ({k} positive)" for name, (n, k) in counts.subsets.items())
    yield from or_ok(short, {"counts.subset": sizes or "the study expects none"})
    if not counts.folds:
        yield ok("counts.fold", "this site does not train")
        return
    severity: Severity = "problem" if study.privacy.min_class_per_fold else "warning"
    one_class = [
        _one_class(severity, fold, n, positives)
        for fold, (n, positives) in enumerate(counts.folds)
        if positives in (0, n)
    ]
    smallest = min(min(k, n - k) for n, k in counts.folds)
    fine = f"{len(counts.folds)} folds, at least {smallest} of each class"
    yield from or_ok(one_class, {"counts.fold": fine})


def _one_class(severity: Severity, fold: int, n: int, positives: int) -> Finding:
    missing = "negative" if positives else "positive"
    return Finding(
        "counts.fold",
        severity,
        f"training fold {fold + 1}",
        f"none of its {n} patients is {missing}" if n else "no patients",
        "add training patients of the rarer class, or let this site test only (trains = false)",
    )
