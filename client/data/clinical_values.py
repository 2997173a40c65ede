"""Convert a clinical value from text to its number in the tables."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable

from common.errors import InputError
from common.study.model import ClinicalColumn
from common.utils.text_file import difference, level_index, nearest, number, on_one_line, plain_text

LARGEST = 1e15
"""Bound of plausible numbers: one typing error beyond it would drown all others in a sum."""
SMALLEST = 1e-300
"""Smallest number other than zero; smaller ones lose digits."""
_MISSING = r"""
- -- --- . .. ? / n/a na n.a. n.a nan nil none null unknown unk missing not_known k.a. k.a ka nd
n.d. n/d tbd x xxx \n
"""
MISSING_WORDS = frozenset(_MISSING.split())
"""Words for a missing value, which count as one only where the study says so."""

_MONTH = "jan|feb|mar|m\u00e4r|mrz|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez"
_DATE = (
    r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[ T]\d\d:.*)?$"
    rf"|^\d{{1,2}}[-. ]+(?i:{_MONTH})|^(?i:{_MONTH})[-. ]\d"
)


def coded_value(text: str, column: ClinicalColumn) -> float:
    """Return a number, the index of a level, or NaN for a missing value.

    Raises
    ------
    InputError : not a number, too large, too many decimals, or a level that the study does not
        know; without a place, which the caller adds.
    """
    if text == "" or level_index(text, column.missing) is not None:
        return math.nan
    shown = on_one_line(text)
    if column.kind != "continuous":
        index = level_index(text, column.levels)
        if index is None:
            raise InputError(f'unknown level "{shown}"', remedy=_level_remedy(text, column.levels))
        return float(index)
    value = number(text)
    if value is None:
        raise InputError(f'"{shown}" is not a number', remedy=number_remedy(text))
    if abs(value) >= LARGEST:
        what = f'"{shown}" is too large ({LARGEST:g} and more)'
        raise InputError(what, remedy="correct the cell")
    if abs(value) < SMALLEST and re.search("[1-9]", re.split("[eE]", text)[0]):
        what = f'"{shown}" is too close to zero (less than {SMALLEST:g})'
        raise InputError(what, remedy="correct the cell")
    if column.decimals is not None and round(value, column.decimals) != value:
        raise InputError(
            f'"{shown}" has more than {column.decimals} decimals',
            remedy="round it as the study records it, or change decimals in the study",
        )
    return value


def _level_remedy(text: str, levels: tuple[str, ...]) -> str:
    known = f"use one of {', '.join(levels)}, or empty"
    if _says_missing(text):
        return f"{known}; {_ask_for_missing(text)}"
    near = nearest(text, levels)
    return f"{known} ({difference(text, near)})" if near is not None else known


def number_remedy(text: str) -> str:
    """Return a remedy for a text that is no number, guessing its kind."""
    for seems, remedy in _REMEDIES:
        if seems(text):
            return remedy
    if _says_missing(text):
        return f"empty the cell; {_ask_for_missing(text)}"
    return "correct or empty the cell"


def _says_missing(text: str) -> bool:
    return "_".join(plain_text(text).casefold().split()) in MISSING_WORDS


def _ask_for_missing(text: str) -> str:
    return f'or ask the coordinator to list "{on_one_line(text)}" under missing in study.toml'


def _holds_other_digits(text: str) -> bool:
    return any(one.isdigit() and not one.isascii() for one in text)


def _holds_what_does_not_show(text: str) -> bool:
    return any(not one.isprintable() and unicodedata.category(one) != "Zs" for one in text)


def _matches(pattern: str) -> Callable[[str], bool]:
    return lambda text: re.search(pattern, text) is not None


# in order of certainty
_REMEDIES: tuple[tuple[Callable[[str], bool], str], ...] = (
    (_holds_other_digits, "write it with the digits 0 to 9"),
    (_holds_what_does_not_show, "type it anew: the cell holds characters that do not show"),
    (
        _matches("[\u2010-\u2015\u2212\ufe63\uff0d]"),
        'write a minus sign as the hyphen of a keyboard: "-"',
    ),
    (_matches(r"^#[A-Z/0!?]"), "an error of a spreadsheet: correct the formula, or empty the cell"),
    (_matches("^="), "save values instead of formulas"),
    (_matches("^['\u2018\u2019`]"), "delete the apostrophe"),
    (
        _matches("^[<>\u2264\u2265~\u2248]"),
        "a limit is not a value: agree with the coordinator on one way to record it in all"
        " hospitals, or empty the cell",
    ),
    (_matches(_DATE), "a date: write a number in the unit of the column"),
    (_matches("%"), "write the number without the percent sign, in the unit of the column"),
    (
        _matches(r"\d,\d"),
        "write decimals with a point, and thousands without any separator",
    ),
    (_matches(r"\d[\s'\u2019_]\d|\.\d+\."), "write thousands without any separator"),
    (
        _matches(r"^[+-]?[\d.]+(?:[eE][+-]?\d+)?\s*[^\d\s.]"),
        "write the number alone, in the unit of the column",
    ),
)
