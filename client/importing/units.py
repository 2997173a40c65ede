"""Sizes of the units that tables are kept in, as far as a confusion would change a number."""

from __future__ import annotations

import re

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
