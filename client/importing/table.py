"""Read a hospital's own table, and turn its rows into those of cohort.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import Any, NoReturn
from zipfile import ZipFile

import openpyxl
import pandas as pd

from client.data.cohort import SPLITS, names_scanners
from client.data.cohort_file import parse_table, read_table
from client.importing.mapping import ImportMapping
from common.errors import InputError
from common.study.model import Study
from common.utils.bounded import MIB, in_words
from common.utils.text_file import level_index

WORKBOOK = (".xlsx", ".xlsm")
MOST_WORKBOOK = 64 * MIB
"""Bytes of all parts of a workbook, and cells and letters of its table."""
_LABELS = ("0", "1")


def read_hospital_table(path: Path, sheet: str = "") -> pd.DataFrame:
    """Return the cells of a .csv or .xlsx as text; the index gives the rows as `read_table`.

    Parameters
    ----------
    sheet : of a workbook; the first one unless given.

    Raises
    ------
    InputError : no such file or sheet, or a workbook that cannot be read or is too large.
    TableError : as `read_table`.
    """
    if path.suffix.lower() not in WORKBOOK:
        return read_table(path)
    if not path.is_file():
        raise InputError("no such file", where=str(path), remedy="correct the path")
    return parse_table(_as_csv(path, sheet), path)


def _as_csv(path: Path, sheet: str) -> str:
    """Return a sheet as CSV, a line for every row; formulas have their last values."""
    try:
        with ZipFile(path) as file:
            size = sum(member.file_size for member in file.infolist())
        if size > MOST_WORKBOOK:
            _refuse_size(path)
        with closing(openpyxl.load_workbook(path, read_only=True, data_only=True)) as book:
            names = [one.title for one in book.worksheets]
            if sheet and sheet not in names:
                remedy = f"sheet in import.toml is one of {', '.join(names)}"
                raise InputError(f"no sheet {sheet}", where=str(path), remedy=remedy)
            chosen = book[sheet or names[0]]
            # what a file says of its size would fill every row up to its last column
            chosen.reset_dimensions()
            return plain_csv(_texts_of(chosen.iter_rows(values_only=True), path))
    except InputError:
        raise
    except Exception as error:  # whatever its readers of zip, XML and cells raise
        raise InputError(
            f"not a workbook that can be read ({type(error).__name__})",
            where=str(path),
            remedy="save it anew as .xlsx without a password, or as CSV",
        ) from None


def _texts_of(rows: Iterable[Sequence[Any]], path: Path) -> Iterator[list[str]]:
    """Yield the texts of each row, as wide as the first; InputError beyond `MOST_WORKBOOK`."""
    size = width = 0
    for row in rows:
        texts = [_text(cell) for cell in row]
        width = width or len(texts)
        texts += [""] * (width - len(texts))
        size += len(texts) + sum(map(len, texts))
        if size > MOST_WORKBOOK:
            _refuse_size(path)
        yield texts


def _refuse_size(path: Path) -> NoReturn:
    raise InputError(
        f"a workbook with more than {in_words(MOST_WORKBOOK)} in it",
        where=str(path),
        remedy="copy the table alone into a new workbook, or save it as CSV",
    )


def plain_csv(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as CSV, every cell as it is: levels such as "+" are read back."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _text(cell: Any) -> str:
    """Return a cell as a person would type it: whole numbers without decimals, ISO dates."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(int(cell))
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, datetime) and cell.time().isoformat() == "00:00:00":
        return cell.date().isoformat()
    if isinstance(cell, date):
        return cell.isoformat()
    return " ".join(str(cell).split())


def wanted_columns(study: Study) -> tuple[str, ...]:
    """Return the columns of cohort.csv that come from the hospital's table."""
    own = ["label", "split", *(column.name for column in study.clinical)]
    return tuple(own + ([study.follow_up.column] if study.follow_up else []))


def known_values(study: Study, name: str) -> tuple[str, ...]:
    """Return the values that a column of cohort.csv may have; empty where it holds numbers."""
    if name in ("label", "split"):
        return _LABELS if name == "label" else SPLITS
    return next((column.levels for column in study.clinical if column.name == name), ())


def unknown_codes(
    frame: pd.DataFrame, mapping: ImportMapping, study: Study
) -> Iterator[tuple[str, str]]:
    """Yield column and code of all values that the study does not know yet."""
    missing = {column.name: column.missing for column in study.clinical}
    for name, column in mapping.columns.items():
        known = known_values(study, name)
        for value in dict.fromkeys(frame[column]) if known else ():
            said = decoded(name, str(value), mapping)
            expected = (*known, *missing.get(name, ()))
            if said != "" and level_index(said, expected) is None:
                yield name, str(value)


def decoded(name: str, value: str, mapping: ImportMapping) -> str:
    """Return the study's value of a cell: through the codes, or as it is."""
    codes = mapping.codes.get(name, {})
    at = level_index(value, tuple(codes)) if value != "" else None
    return value if at is None else tuple(codes.values())[at]


def cohort_rows(
    frame: pd.DataFrame, mapping: ImportMapping, study: Study
) -> dict[object, dict[str, str]]:
    """Return the values of cohort.csv that the table gives, by position of the row.

    Raises
    ------
    InputError : a column is not mapped, or not in the table.
    """
    wanted = wanted_columns(study)
    for name in wanted:
        column = mapping.columns.get(name)
        if name not in mapping.constants and column not in frame.columns:
            what = f"nothing says which column is {name}"
            if column is not None:
                what = f"the table has no column {column}, which is to be {name}"
            raise InputError(
                what,
                where="import.toml",
                remedy=f'write {name} = "..." into [columns] or [constants], or answer the question'
                f" without --yes; the table has {', '.join(map(str, frame.columns))}",
            )
    more = ["scanner"] if names_scanners(study) and "scanner" in mapping.columns else []
    return {
        position: {name: _value(name, row, mapping) for name in [*wanted, *more]}
        for position, row in zip(frame.index, frame.to_dict("records"), strict=True)
    }


def _value(name: str, row: Mapping[Any, Any], mapping: ImportMapping) -> str:
    if name in mapping.constants:
        return mapping.constants[name]
    return decoded(name, str(row[mapping.columns[name]]), mapping)
