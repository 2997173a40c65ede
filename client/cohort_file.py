"""cohort.csv as cells of text, before anything is known of what they mean."""

from __future__ import annotations

import csv
import io
import warnings
from collections import Counter
from pathlib import Path

import pandas as pd

from common.errors import InputError
from common.study import Study
from common.text_file import read_written

_SEPARATORS = {";": "semicolons", "\t": "tabs"}
_SAVE_AS = "save it as UTF-8 CSV"


def read_table(path: Path) -> pd.DataFrame:
    """Cells of a cohort.csv without spaces around them; its index tells the rows of the file.

    Rows without any content are passed over.

    Raises
    ------
    InputError : no such file, not CSV, or a column that is there twice.
    """
    text = _text(path)
    # a blank line counts as a row, so that the rows told are those that a spreadsheet shows
    above = len(text) - len(text.lstrip("\r\n"))
    lead = len(text[:above].splitlines())
    _check_header(text[above:], path)
    try:
        with warnings.catch_warnings():
            # a decimal comma in every row would otherwise move all columns after it
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                io.StringIO(text[above:]),
                dtype=str,
                keep_default_na=False,
                index_col=False,
                skip_blank_lines=False,
            )
    except pd.errors.ParserWarning:
        raise InputError(
            "rows have more cells than there are columns",
            where=str(path),
            remedy="put values with a comma in quotation marks, and write decimals with a point",
        ) from None
    except ValueError as error:
        raise InputError(
            f"cannot be read as CSV: {error}", where=str(path), remedy=_SAVE_AS
        ) from None
    frame.columns = pd.Index([str(name).strip() for name in frame.columns])
    frame.index = pd.RangeIndex(lead, lead + len(frame))
    frame = frame.fillna("").apply(lambda cells: cells.str.strip())
    return frame[(frame != "").any(axis=1)]


def _text(path: Path) -> str:
    if not path.is_file():
        raise InputError("no such file", where=str(path), remedy="put cohort.csv there")
    text = read_written(path, _SAVE_AS)
    if "\0" in text:
        row = text[: text.index("\0")].count("\n") + 1
        raise InputError(
            "a NUL character, which no text holds", where=f"{path} line {row}", remedy=_SAVE_AS
        )
    return text


def _check_header(text: str, path: Path) -> None:
    names = [name.strip() for name in next(csv.reader(io.StringIO(text)), [])]
    for separator, called in _SEPARATORS.items():
        if len(names) == 1 and separator in names[0]:
            raise InputError(
                f"cells are separated by {called}",
                where=str(path),
                remedy="save it with commas between cells and points in decimals (spreadsheets:"
                ' "CSV UTF-8 (comma delimited)")',
            )
    twice = [name for name, times in Counter(names).items() if name and times > 1]
    if twice:
        raise InputError(
            f"the column {', '.join(twice)} is there twice",
            where=str(path),
            remedy="keep one of them, or give the other one another name",
        )


def missing_columns(frame: pd.DataFrame, study: Study) -> list[str]:
    """Columns that the study reads and the table lacks."""
    needed = ["patient_id", "label", "split", *(column.name for column in study.clinical)]
    needed += ["image", "mask"] if study.needs_images else []
    return [name for name in needed if name not in frame.columns]


def repeated_ids(frame: pd.DataFrame) -> dict[str, list[int]]:
    """Rows of the file by patient id, of patients that have several."""
    ids = frame["patient_id"]
    return {
        str(patient): [row_number(i) for i in frame.index[ids == patient]]
        for patient in ids[ids.duplicated() & (ids != "")].unique()
    }


def row_number(position: object) -> int:
    """Row of the file, as spreadsheets count, of a row of the table."""
    return int(str(position)) + 2
