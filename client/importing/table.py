"""Read a hospital's own table, and turn its rows into those of cohort.csv."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import Any, NoReturn
from zipfile import ZipFile

import openpyxl
import pandas as pd
from openpyxl.xml.functions import iterparse

from client.check.finding import listed
from client.data.cohort import SPLITS, names_scanners
from client.data.cohort_file import parse_table, read_table
from client.importing.mapping import ImportMapping
from common.errors import InputError
from common.study.model import Study
from common.utils.bounded import MIB, in_words
from common.utils.text_file import level_index, number

WORKBOOK = (".xlsx", ".xlsm")
MOST_WORKBOOK = 64 * MIB
"""Bytes of all parts of a workbook, and cells and letters of its table."""
_LABELS = ("0", "1")
_IN_BRACKETS = re.compile(r"[(\[]([^()\[\]]+)[)\]]")
_LITERAL = re.compile(r'"[^"]*"|\\.')
"""Parts of a number format that are shown as they are."""


def read_hospital_table(path: Path, sheet: str = "") -> pd.DataFrame:
    """Return the cells of a .csv or .xlsx as text; the index gives the rows as `read_table`.

    Parameters
    ----------
    sheet : of a workbook; the first one that is not hidden unless given.

    Raises
    ------
    InputError : no such file or sheet, or a workbook that cannot be read, is too large, or shows
        something else than it holds: hidden rows, merged cells, formulas without their values.
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
            shown = [one.title for one in book.worksheets if one.sheet_state == "visible"]
            chosen = book[sheet or (shown or names)[0]]
            _check_shown(path, chosen._worksheet_path)
            # what a file says of its size would fill every row up to its last column
            chosen.reset_dimensions()
            return plain_csv(_texts_of(chosen.iter_rows(), path))
    except InputError:
        raise
    except Exception as error:  # whatever its readers of zip, XML and cells raise
        raise InputError(
            f"not a workbook that can be read ({type(error).__name__})",
            where=str(path),
            remedy="save it anew as .xlsx without a password, or as CSV",
        ) from None


def _check_shown(path: Path, part: str) -> None:
    """Refuse a sheet whose cells say something else to a program than to who looks at them."""
    hidden, merged, empty = [], [], []
    with ZipFile(path) as file, file.open(part) as sheet:
        for _, element in iterparse(sheet):
            name = element.tag.rpartition("}")[2]
            if name == "c" and _lacks_value(element):
                empty.append(element.get("r") or "")
            elif name == "mergeCell":
                merged.append(element.get("ref") or "")
            elif name == "row":
                filled = any(len(cell) for cell in element)
                if filled and element.get("hidden") in ("1", "true"):
                    hidden.append(element.get("r") or "")
                element.clear()
    remedies = {
        "hidden rows": (hidden, "show them, and delete those that are no patients of the study"),
        "merged cells": (merged, "part them, and write the value into each: only the first has it"),
        "formulas without values": (empty, "open it in a spreadsheet program, and save it anew"),
    }
    for what, (places, remedy) in remedies.items():
        if places:
            raise InputError(what, where=f"{path} {listed(places)}", remedy=remedy)


def _lacks_value(cell: Any) -> bool:
    """Return whether a cell has a formula and no value; an empty text is one."""
    parts = {part.tag.rpartition("}")[2]: part.text for part in cell}
    return "f" in parts and not parts.get("v") and cell.get("t") != "str"


def _texts_of(rows: Iterable[Sequence[Any]], path: Path) -> Iterator[list[str]]:
    """Yield the texts of each row, as wide as the first; InputError beyond `MOST_WORKBOOK`."""
    size = width = 0
    for row in rows:
        texts = [_shown(cell) for cell in row]
        width = width or len(texts)
        texts += [""] * (width - len(texts))
        size += len(texts) + sum(map(len, texts))
        if size > MOST_WORKBOOK:
            _refuse_size(path)
        yield texts


def _shown(cell: Any) -> str:
    """Return a cell's text, a percentage with its sign: what is stored is its hundredth."""
    number = isinstance(cell.value, int | float) and not isinstance(cell.value, bool)
    if number and "%" in _LITERAL.sub("", cell.number_format or ""):
        return f"{cell.value * 100:.12g}%"
    return _text(cell.value)


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
    """Yield column and code of all values whose meaning nobody has said yet.

    A number that the study knows means the same only in a column without codes of its own: where 2
    is a yes, 1 is most likely a no.
    """
    missing = {column.name: column.missing for column in study.clinical}
    for name, column in mapping.columns.items():
        known = known_values(study, name)
        values = [str(value) for value in dict.fromkeys(frame[column]) if value] if known else []
        expected = (*known, *missing.get(name, ()))
        strange = [v for v in values if level_index(decoded(name, v, mapping), expected) is None]
        strange = [v for v in strange if decoded(name, v, mapping)]
        own = any(number(v) is not None for v in strange) or _has_own_numbers(
            mapping.codes.get(name, {})
        )
        for value in values:
            if value in strange or (own and _is_open_number(value, name, mapping)):
                yield name, value


def _has_own_numbers(codes: Mapping[str, str]) -> bool:
    """Return whether a number stands for a value of another name."""
    return any(said and number(code) is not None and said != code for code, said in codes.items())


def _is_open_number(value: str, name: str, mapping: ImportMapping) -> bool:
    codes = tuple(mapping.codes.get(name, {}))
    return number(value) is not None and level_index(value, codes) is None


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
    InputError : a column is not mapped, or not in the table; its heading names another unit; its
        codes are its own, and nothing says what one of them means.
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
    _check_units(mapping, study)
    _check_codes(frame, mapping, study)
    more = ["scanner"] if names_scanners(study) and "scanner" in mapping.columns else []
    return {
        position: {name: _value(name, row, mapping) for name in [*wanted, *more]}
        for position, row in zip(frame.index, frame.to_dict("records"), strict=True)
    }


def _check_units(mapping: ImportMapping, study: Study) -> None:
    """Refuse a heading such as "Hb (g/l)" for a column that the study has in g/dl."""
    for column in study.clinical:
        heading = mapping.columns.get(column.name, "")
        for said in _IN_BRACKETS.findall(heading) if column.kind == "continuous" else ():
            if differ_in_size(said, column.unit):
                raise InputError(
                    f"the column {heading} is in {said}, the study's {column.name} in"
                    f" {column.unit}",
                    where="the table's heading",
                    remedy=f"give the values in {column.unit}, and call the column so",
                )


def _check_codes(frame: pd.DataFrame, mapping: ImportMapping, study: Study) -> None:
    """Refuse numbers that the study knows in a column where numbers mean something else."""
    for name, value in unknown_codes(frame, mapping, study):
        if level_index(value, known_values(study, name)) is not None:
            raise InputError(
                f"the column {mapping.columns[name]} has codes of its own, and nothing says what"
                f' "{value}" means in it',
                where=f"import.toml [codes.{name}]",
                remedy='write there what each number of the column means; "" is a missing value',
            )


def _value(name: str, row: Mapping[Any, Any], mapping: ImportMapping) -> str:
    if name in mapping.constants:
        return mapping.constants[name]
    return decoded(name, str(row[mapping.columns[name]]), mapping)


_PREFIXES = {"k": 1e3, "": 1.0, "d": 1e-1, "c": 1e-2, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12}
_AMOUNT = r"(?P<prefix>[kdcmunp]?)(?P<base>g|mol|l|m|iu|u|kat|eq|pa)"
_UNIT = re.compile(rf"{_AMOUNT}(?:/(?P<per>[dcmun]?)l)?")
_DAYS = {"day": 1.0, "week": 7.0, "month": 30.4375, "mo": 30.4375, "year": 365.25, "yr": 365.25}
_SPELLINGS = str.maketrans({"\u00b5": "u", "\u03bc": "u", "\u2113": "l"})


def differ_in_size(unit: str, other: str) -> bool:
    """Return whether two units are known and not of one size, or not of one kind.

    Examples
    --------
    >>> differ_in_size("g/L", "g/dl"), differ_in_size("months", "years")
    (True, True)
    >>> differ_in_size("mg/ml", "g/l"), differ_in_size("at surgery", "years")
    (False, False)
    """
    one, two = _size(unit), _size(other)
    return one is not None and two is not None and not _same(one, two)


def _same(one: tuple[str, float], two: tuple[str, float]) -> bool:
    return one[0] == two[0] and abs(one[1] / two[1] - 1) < 1e-9


def _size(unit: str) -> tuple[str, float] | None:
    """Return what a unit measures, and its size in a unit without prefixes; None if unknown."""
    plain = unit.translate(_SPELLINGS).casefold().replace(" ", "")
    days = _DAYS.get(plain.removesuffix("s"))
    if days is not None:
        return "time", days
    if plain in ("%", "percent"):
        return "share", 1e-2
    found = _UNIT.fullmatch(plain)
    if found is None:
        return None
    per = found["per"]
    base = "u" if found["base"] == "iu" else found["base"]
    size = _PREFIXES[found["prefix"]] / (1.0 if per is None else _PREFIXES[per])
    return f"{base}{'' if per is None else '/l'}", size
