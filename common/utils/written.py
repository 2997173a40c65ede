"""Numbers and levels as people write them: read as meant, or not at all.

`float` takes "1_000", "infinity" and the digits of every script for numbers. In a table that
somebody typed, none of them is one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from common.utils.lookalike import plain_text

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def number(text: str) -> float | None:
    """Return the number that a text is, None where it is none.

    Examples
    --------
    >>> number("-1.50"), number("1e3"), number(".5")
    (-1.5, 1000.0, 0.5)
    >>> number("1_000"), number("12,5"), number("nan"), number("\uff11\uff12")
    (None, None, None, None)
    """
    # minus zero is zero
    return float(text) + 0.0 if _NUMBER.fullmatch(text) else None


def level_index(text: str, levels: Sequence[str]) -> int | None:
    """Return the position of a level; texts that look the same are, and so are "1" and "1.0"."""
    if text in levels:
        return levels.index(text)
    plain = plain_text(text)
    value = number(plain)
    for index, level in enumerate(levels):
        if plain_text(level) == plain or (value is not None and number(level) == value):
            return index
    return None


def check_levels(levels: Sequence[str], missing: Sequence[str]) -> None:
    """Raise ValueError if a cell could stand for two levels, or for a level and a missing value."""
    for at, level in enumerate(levels):
        other = level_index(level, levels[:at])
        if other is not None:
            pair = f'"{levels[other]}" and "{level}"'
            raise ValueError(f"a level is listed twice: {pair} are the same when read from a table")
        if level_index(level, missing) is not None:
            raise ValueError(f'"{level}" cannot be both a level and a missing value')
        if plain_text(level) == "":
            raise ValueError("an empty cell is a missing value and cannot be a level")
