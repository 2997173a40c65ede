"""Write tables as CSV (RFC 4180) that a spreadsheet opens without running anything."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from common.utils.text_file import number

_BEGINS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First letters from which a spreadsheet computes a cell; the last four are of full width."""


def csv_cell(cell: object) -> object:
    """Return a cell as it is written: a text that begins a formula gets an apostrophe before it.

    Numbers stay numbers, also as text. Spreadsheets show the text without the apostrophe, or with
    it, but never compute it (OWASP, CSV Injection).

    Examples
    --------
    >>> csv_cell("=HYPERLINK(A1)"), csv_cell("-0.5"), csv_cell(-0.5), csv_cell("P-01")
    ("'=HYPERLINK(A1)", '-0.5', -0.5, 'P-01')
    """
    if isinstance(cell, str) and cell.startswith(_BEGINS_FORMULA) and number(cell) is None:
        return f"'{cell}"
    return cell


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV with line feeds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([csv_cell(cell) for cell in row] for row in rows)
    return text.getvalue()


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write rows into a UTF-8 file, headings first."""
    path.write_text(csv_text(rows), encoding="utf-8", newline="")
