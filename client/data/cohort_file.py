"""cohort.csv as cells of text, before their meaning is known."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from client.data.table_text import SAVE_AS, Fault, TableError, read_sheet
from common.errors import InputError
from common.study.model import Study
from common.utils.text_file import difference, plain_text, read_as_stored, skeleton

COLUMN = "confirmed"
FRAME_OF_REFERENCE = "frame_of_reference"
WORDS = (FRAME_OF_REFERENCE,)
NOTHING: frozenset[str] = frozenset()


def confirmed_words(cell: str, where: str = f"column {COLUMN}") -> frozenset[str]:
    """Split a cell of the column `confirmed` into words, at spaces or semicolons.

    Raises
    ------
    InputError : an unknown word.

    Examples
    --------
    >>> sorted(confirmed_words("frame_of_reference"))
    ['frame_of_reference']
    """
    words = frozenset(cell.replace(";", " ").split())
    unknown = sorted(words - set(WORDS))
    if unknown:
        raise InputError(
            f'unknown word "{unknown[0]}"',
            where=where,
            remedy=f"write {', '.join(WORDS)} where you have looked and it is right, else nothing",
        )
    return words


_WHOLE_AS_DECIMAL = re.compile(r"([0-9]+)\.0+")
FIRST_ROW = 2
"""Number of the row below a heading in the first line, from which the table's index counts."""


def read_table(path: Path) -> pd.DataFrame:
    """Return the cells of a table of patients without spaces around them.

    Every line of the file is a row, and the index gives its number (`row_number`). Lines without
    any content are skipped; columns without a name and without content are left out. Names of
    columns and patient ids are normalised: without invisible characters, accents composed.

    Raises
    ------
    InputError : no such file, not UTF-8.
    TableError : not CSV with commas, quotation marks that contradict each other, rows of another
        length than the heading, a column twice or without a name, a heading or comment in between.
    """
    if not path.is_file():
        raise InputError("no such file", where=str(path), remedy=f"put {path.name} there")
    return parse_table(read_as_stored(path, SAVE_AS), path)


def parse_table(text: str, path: Path) -> pd.DataFrame:
    """Return the cells of a table as `read_table`, from the text of the file."""
    sheet = read_sheet(text)
    if sheet.faults:
        raise TableError(sheet.faults, path)
    index = pd.Index([row.line - FIRST_ROW for row in sheet.rows], dtype="int64")
    cells = [row.cells for row in sheet.rows]
    frame = pd.DataFrame(cells, columns=list(sheet.names), index=index, dtype=object)
    if "patient_id" in frame.columns:
        frame["patient_id"] = [plain_text(patient) for patient in frame["patient_id"]]
    return frame


def ends_in_a_line(path: Path) -> bool:
    """Return whether the last line is complete; a truncated copy ends anywhere."""
    return path.read_bytes()[-1:] in (b"\n", b"\r")


def missing_columns(frame: pd.DataFrame, study: Study) -> list[str]:
    """Return the columns that the study reads and the table lacks."""
    needed = ["patient_id", "label", "split", *(column.name for column in study.clinical)]
    needed += ["image", "mask"] if study.needs_images else []
    needed += [study.follow_up.column] if study.follow_up else []
    return [name for name in needed if name not in frame.columns]


def near_misses(frame: pd.DataFrame, known: Iterable[str]) -> list[Fault]:
    """Find unread columns whose names are nearly those of optional ones.

    An optional column would otherwise be left out silently.
    """
    found = []
    for name in known:
        if name in frame.columns:
            continue
        near = next((o for o in map(str, frame.columns) if skeleton(o) == skeleton(name)), None)
        if near is not None:
            what = f"the column {near} is not read: {difference(near, name)}"
            found.append(Fault((), what, f"call it {name}, or give it a name quite different"))
    return found


def repeated_ids(frame: pd.DataFrame) -> dict[str, list[int]]:
    """Return the file's rows by patient id, for patients that have several.

    "12.0" is the patient "12": programs that take ids for numbers write them so.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    first: dict[str, str] = {}
    for position, patient in zip(frame.index, frame["patient_id"], strict=True):
        if patient:
            key = first.setdefault(same_patient(patient), patient)
            rows[key].append(row_number(position))
    return {patient: listed for patient, listed in rows.items() if len(listed) > 1}


def same_patient(patient: str) -> str:
    """Normalise an id, so that all forms that programs write are equal."""
    decimal = _WHOLE_AS_DECIMAL.fullmatch(patient)
    return decimal[1] if decimal else patient


def row_number(position: object) -> int:
    """Return the row of the file, as spreadsheets count, of a row of the table."""
    return int(str(position)) + FIRST_ROW
