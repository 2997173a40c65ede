"""A clinical value as text -> the number that stands for it in the tables."""

from __future__ import annotations

import math

from common.errors import InputError
from common.study import ClinicalColumn

LARGEST = 1e15
"""No record has such numbers; a slip of the keys would drown all others in a sum."""


def coded_value(text: str, column: ClinicalColumn) -> float:
    """A number, the index of a level, or NaN for a missing value.

    Raises
    ------
    InputError : not a number, too large, too many decimals, or a level that the study does not
        know; without a place, which the caller knows.
    """
    if text == "" or level_index(text, column.missing) is not None:
        return math.nan
    if column.kind != "continuous":
        index = level_index(text, column.levels)
        if index is None:
            known = ", ".join(column.levels)
            raise InputError(f'unknown level "{text}"', remedy=f"use one of {known}, or empty")
        return float(index)
    value = number(text)
    if value is None or not math.isfinite(value):
        raise InputError(f'"{text}" is not a number', remedy="correct or empty the cell")
    if abs(value) >= LARGEST:
        raise InputError(f'"{text}" is too large ({LARGEST:g} and more)', remedy="correct the cell")
    if column.decimals is not None and round(value, column.decimals) != value:
        raise InputError(
            f'"{text}" has more than {column.decimals} decimals',
            remedy="round it as the study records it, or change decimals in the study",
        )
    return value


def number(text: str) -> float | None:
    """The number that a text is, None where it is none; 6_0 is a slip of the keys, not 60."""
    if "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def level_index(text: str, levels: tuple[str, ...]) -> int | None:
    """Position of a level; "1" and "1.0" are the same level."""
    if text in levels:
        return levels.index(text)
    value = number(text)
    if value is None:
        return None
    for index, level in enumerate(levels):
        if number(level) == value:
            return index
    return None
