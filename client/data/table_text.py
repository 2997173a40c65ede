"""Split the text of a table into rows, one per line; everything doubtful is a fault.

A lenient reader joins or moves cells: an unclosed quotation mark swallows the patients up to the
next one. The dialect is RFC 4180 (https://www.rfc-editor.org/rfc/rfc4180) without line breaks
inside cells, so that the number of rows can be counted without reading them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from client.check.finding import listed
from common.errors import InputError
from common.utils.text_file import plain_text

SAVE_AS = "save it as UTF-8 CSV"
_WITH_COMMAS = (
    'save it with commas between cells and points in decimals (spreadsheets: "CSV UTF-8 (comma'
    ' delimited)")'
)
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_CELL = re.compile(r'(?:"((?:[^"]|"")*+)"|([^",]*))(?=,|\Z)')
_QUOTED = re.compile(r'"(?:[^"]|"")*+"')
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
# never part of a text: control characters but the tab, other line ends, marks of an encoding
_UNTEXTUAL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffd]")
_CALLED = {
    "\0": "a NUL character, which no text holds",
    "\ufeff": "a byte order mark (U+FEFF) inside the text, as where two files were joined",
    "\ufffd": "a replacement character (U+FFFD): an earlier program lost what stood there",
}


@dataclass(frozen=True)
class Fault:
    """Defect that makes the cells of a table doubtful.

    Parameters
    ----------
    lines : of the file, from 1; empty where the file as a whole is meant.
    """

    lines: tuple[int, ...]
    what: str
    remedy: str

    @property
    def place(self) -> str:
        """Lines in words."""
        if not self.lines:
            return ""
        return f"line{'s' if len(self.lines) > 1 else ''} {listed([str(n) for n in self.lines])}"

    def __str__(self) -> str:
        return f"{self.place}: {self.what}" if self.lines else self.what


class TableError(InputError):
    """Table that is not read because of its faults, all of which are named."""

    def __init__(self, faults: Sequence[Fault], path: Path) -> None:
        self.faults = tuple(faults)
        what = "; ".join(map(str, faults))
        remedy = "; ".join(dict.fromkeys(fault.remedy for fault in faults))
        super().__init__(what, where=str(path), remedy=remedy)


@dataclass(frozen=True)
class Row:
    """Cells of one line, without spaces around them."""

    line: int
    cells: tuple[str, ...]


@dataclass
class Sheet:
    """Table of a file: names of columns, rows with content, and faults."""

    names: tuple[str, ...] = ()
    rows: list[Row] = field(default_factory=list)
    _found: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def fault(self, line: int | None, what: str, remedy: str) -> None:
        """Add a line to a fault."""
        self._found.setdefault((what, remedy), []).extend([] if line is None else [line])

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All faults, each with its lines."""
        return tuple(Fault(tuple(lines), *said) for said, lines in self._found.items())


def read_sheet(text: str) -> Sheet:
    """Read a table: the first line with content is the heading, every other one a row.

    Lines of empty cells are skipped. If there are faults, names and rows are not to be used.
    """
    sheet = Sheet()
    written = list(_content(_lines(text, sheet), sheet))
    separator = _other_separator(written[0][1]) if written else None
    if separator is not None:
        sheet.fault(written[0][0], f"cells are separated by {separator}", _WITH_COMMAS)
        return sheet
    rows = [_row(line, said, sheet) for line, said in written]
    full = [row for row in rows if row is None or any(row.cells)]
    if not full:
        sheet.fault(None, "nothing is in it", SAVE_AS)
    elif full[0] is not None:
        _take_columns(sheet, full[0], [row for row in full[1:] if row is not None])
    return sheet


def _lines(text: str, sheet: Sheet) -> Iterator[tuple[int, str]]:
    """Yield the lines with their numbers; line feeds end them, or carriage returns throughout."""
    end = "\n" if "\n" in text else "\r"
    for number, line in enumerate(text.split(end), start=1):
        said = line.removesuffix("\r")
        if "\r" in said:
            remedy = "save it anew with the same line ends throughout; no cell may hold one"
            sheet.fault(number, "a carriage return without a line feed", remedy)
        for odd in dict.fromkeys(_UNTEXTUAL.findall(said)):
            what = _CALLED.get(odd, f"a control character (U+{ord(odd):04X}) inside the text")
            remedy = SAVE_AS if odd == "\0" else f"delete it, or {SAVE_AS} anew"
            sheet.fault(number, what, remedy)
        yield number, said


def _content(lines: Iterator[tuple[int, str]], sheet: Sheet) -> Iterator[tuple[int, str]]:
    """Yield the lines that hold a heading or a patient."""
    for number, said in lines:
        # spreadsheets write and hide such a first line
        announced = _SEPARATOR_LINE.fullmatch(said.strip()) if number == 1 else None
        if announced and announced[1] == ",":
            continue
        if said.lstrip(' \t"').startswith("#"):
            what = 'a line that begins with "#", as comments do'
            sheet.fault(
                number,
                what,
                "delete it, or begin the first cell of a patient with something else than #",
            )
        elif said.replace(",", "").strip():
            yield number, said


def _other_separator(heading: str) -> str | None:
    announced = _SEPARATOR_LINE.fullmatch(heading.strip())
    if announced:
        return _SEPARATORS.get(announced[1], f'"{announced[1]}"')
    names = [name.strip(' "') for name in heading.split(",")]
    if "patient_id" in map(plain_text, names):
        return None
    for separator, called in _SEPARATORS.items():
        if separator in heading:
            parts = {plain_text(part).strip('"') for part in heading.split(separator)}
            if len(names) == 1 or "patient_id" in parts:
                return called
    return None


def _row(line: int, said: str, sheet: Sheet) -> Row | None:
    """Return the cells of a line, or None where its quotation marks contradict each other."""
    if '"' not in said:
        return Row(line, tuple(cell.strip() for cell in said.split(",")))
    cells, at = [], 0
    while at <= len(said):
        cell = _CELL.match(said, at)
        if cell is None:
            sheet.fault(line, *_quotation_fault(said, at))
            return None
        quoted, plain = cell.groups()
        cells.append((plain if quoted is None else quoted.replace('""', '"')).strip())
        at = cell.end() + 1
    return Row(line, tuple(cells))


def _quotation_fault(said: str, at: int) -> tuple[str, str]:
    """Describe the fault in the quotation marks of the cell that begins at `at`."""
    if said[at] != '"':
        return (
            "a quotation mark inside a cell that does not begin with one",
            "delete it and any space before it, or put the whole cell in quotation marks and write"
            " each one inside it twice",
        )
    if _QUOTED.match(said, at):
        return (
            "text between a closing quotation mark and the next comma",
            "put the whole cell in quotation marks, and write each one inside it twice",
        )
    return (
        "a quotation mark that is not closed on its line",
        "close or delete it, and take line breaks out of cells: every patient has one line",
    )


def _take_columns(sheet: Sheet, heading: Row, rows: Sequence[Row]) -> None:
    """Give the sheet its columns and rows, if the rows fit the heading."""
    names = tuple(plain_text(name) for name in heading.cells)
    if len(names) == 1 and "," in names[0]:
        what = "the whole line stands in quotation marks"
        sheet.fault(heading.line, what, "take them away: they belong around single cells")
        return
    below = next((row.line for row in rows if "patient_id" in map(plain_text, row.cells)), None)
    if "patient_id" not in names and below is not None:
        what = f"text above the heading, which is in line {below}"
        sheet.fault(heading.line, what, "delete the lines above the heading")
        return
    whole = [row for row in rows if _fits(sheet, names, row)]
    used = [at for at, name in enumerate(names) if name or any(row.cells[at] for row in whole)]
    for at in used:
        if not names[at]:
            remedy = "give it a name, or delete the column (as that of row numbers)"
            sheet.fault(heading.line, f"column {at + 1} has values but no name", remedy)
    for name, times in Counter(filter(None, names)).items():
        if times > 1:
            remedy = "keep one of them, or give the other one another name"
            sheet.fault(heading.line, f"the column {name} is there twice", remedy)
    sheet.names = tuple(names[at] for at in used)
    sheet.rows = [Row(row.line, tuple(row.cells[at] for at in used)) for row in whole]


def _fits(sheet: Sheet, names: Sequence[str], row: Row) -> bool:
    """Return whether a row has the heading's number of cells, and is not the heading again."""
    there, wanted = len(row.cells), len(names)
    if {plain_text(cell) for cell in row.cells if cell} <= {*names}:
        remedy = "keep one heading, in the first line; all tables joined need the same columns"
        sheet.fault(row.line, "the heading again", remedy)
        return False
    if there == wanted:
        return True
    counted = f"{there} cell{'s' if there > 1 else ''}"
    if there > wanted:
        remedy = (
            "put values with a comma in quotation marks, write decimals with a point, and end no"
            " row with a comma that the heading does not have; row numbers need a name too"
        )
        what = f"rows have more cells than there are columns ({counted}, {wanted} columns)"
    else:
        remedy = (
            "write a comma for every empty cell too; if it is the last row, the file may have been"
            " cut off"
        )
        what = f"rows have fewer cells than there are columns ({counted}, {wanted} columns)"
    sheet.fault(row.line, what, remedy)
    return False
