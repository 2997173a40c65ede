"""Text files written by people on any system."""

from __future__ import annotations

import difflib
import re
import shlex
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from common.errors import InputError
from common.utils.bounded import MOST_TEXT, read_bytes

_MOST_NAMED = 3


def escaped(text: str) -> str:
    r"""Escape non-printable characters, as in `\x1b`; lines stay lines."""
    return "\n".join(on_one_line(line) for line in text.split("\n"))


def as_word(path: Path | str) -> str:
    """Return a path as a shell takes it for one word, in commands that people copy.

    Examples
    --------
    >>> as_word("hub"), as_word("My hospital/site.toml")
    ('hub', "'My hospital/site.toml'")
    """
    return shlex.quote(str(path))


def on_one_line(text: str) -> str:
    r"""Return the text on one line, non-printable characters escaped, as in `\n`."""
    if text.isprintable():
        return text
    return "".join(one if _prints(one) else one.encode("unicode_escape").decode() for one in text)


def check_printable(value: Any) -> None:
    """Raise ValueError when a text in a value, however deep, is not plain text on one line."""
    for text in _texts(value):
        if not text.isprintable():
            odd = dict.fromkeys(one for one in text if not one.isprintable())
            named = ", ".join(f"U+{ord(one):04X}" for one in list(odd)[:_MOST_NAMED])
            raise ValueError(
                f"holds characters that do not print ({named}): write plain text on one line"
            )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, BaseModel):
        yield from _texts(list(vars(value).values()))
    elif isinstance(value, dict):
        yield from _texts([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from _texts(part)


def _prints(one: str) -> bool:
    """Return whether a character is visible as itself; a no-break space is."""
    return one.isprintable() or unicodedata.category(one) == "Zs"


_DRAWN_AS_NOTHING = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u3164\uffa0")
"""Letters and marks of no width; Unicode calls them default ignorable (DerivedCoreProperties)."""
_SPACES = frozenset("\t\n\v\f\r\x85\u2028\u2029")
_ALIKE_ENOUGH = 0.8
_MOST_SHOWN = 3


def plain_text(text: str) -> str:
    r"""Normalise a text: composed (NFC), without invisible characters and outer spaces.

    Two names are the same if their plain texts are equal. Letter case and the width of a run of
    spaces count; all kinds of space are equal.

    Examples
    --------
    >>> plain_text("\ufeffGTV\u00a01\u200b ")
    'GTV 1'
    >>> plain_text("Le\u0301sion") == "L\u00e9sion"
    True
    """
    if text.isascii() and text.isprintable():  # most texts have nothing hidden in them
        return text.strip()
    seen = (" " if _is_space(one) else one for one in text if not _is_invisible(one))
    return unicodedata.normalize("NFC", "".join(seen)).strip()


def nearest(text: str, others: Iterable[str]) -> str | None:
    """Return the name that a text was most likely meant to be, None if none is close.

    A name that differs only in letter case, spaces or the form of its letters comes first.
    """
    names = list(others)
    same = [name for name in names if skeleton(name) == skeleton(text)]
    same += [name for name in names if may_be_drawn_alike(name, text)]
    if same:
        return same[0]
    by_skeleton = {skeleton(name): name for name in reversed(names)}
    close = difflib.get_close_matches(skeleton(text), by_skeleton, 1, _ALIKE_ENOUGH)
    return by_skeleton[close[0]] if close else None


def skeleton(text: str) -> str:
    """Reduce a name to the part it shares with names easily taken for it.

    Examples
    --------
    >>> skeleton("Age at CT") == skeleton("age_at_ct"), skeleton("HPV+") == skeleton("HPV-")
    (True, True)
    """
    folded = unicodedata.normalize("NFKC", plain_text(text)).casefold()
    return "".join(one for one in folded if one.isalnum()) or folded


def spelt_alike(a: str, b: str) -> bool:
    """Return whether texts differ only in letter case, spaces or the form of their letters.

    Examples
    --------
    >>> spelt_alike("T 4a", "t4A"), spelt_alike("HPV+", "HPV-"), spelt_alike("-1", "1")
    (True, False, False)
    """
    one, other = (
        "".join(unicodedata.normalize("NFKC", plain_text(text)).casefold().split())
        for text in (a, b)
    )
    return one == other


def may_be_drawn_alike(a: str, b: str) -> bool:
    r"""Return whether texts differ only in letters of another script or width.

    Examples
    --------
    >>> may_be_drawn_alike("P01", "\u042001"), may_be_drawn_alike("P01", "\uff3001")
    (True, True)
    >>> may_be_drawn_alike("P01", "Q01")
    False
    """
    a, b = plain_text(a).casefold(), plain_text(b).casefold()
    pairs = list(zip(a, b, strict=False))
    return len(a) == len(b) and all(x == y or x.isascii() != y.isascii() for x, y in pairs)


def difference(a: str, b: str) -> str:
    r"""Describe how two texts differ, character by character where it is invisible.

    Examples
    --------
    >>> difference("GTV", "GTV\u200b")
    '"GTV" and "GTV" differ only in characters that cannot be seen: U+200B ZERO WIDTH SPACE'
    >>> difference("gtv", "GTV")
    '"gtv" and "GTV" differ only in upper and lower case'
    >>> difference("GT", "G\u0422")
    '"GT" and "GТ" differ: T (U+0054) is not Т (U+0422 CYRILLIC CAPITAL LETTER TE)'
    """
    plain_a, plain_b = plain_text(a), plain_text(b)
    pair = f'"{plain_a}" and "{plain_b}"'
    if a == b:
        return f"{pair} are the same"
    if plain_a == plain_b:
        hidden = [one for one in dict.fromkeys(a + b) if _is_odd(one)]
        if not hidden:
            return f"{pair} differ only in outer spaces or in how their accents are stored"
        shown = ", ".join(_code_and_name(one) for one in hidden[:_MOST_SHOWN])
        return f"{pair} differ only in characters that cannot be seen: {shown}"
    if plain_a.casefold() == plain_b.casefold():
        return f"{pair} differ only in upper and lower case"
    if plain_a.split() == plain_b.split():
        return f"{pair} differ only in the number of spaces"
    return f"{pair} differ: {_first_difference(plain_a, plain_b)}"


def _first_difference(a: str, b: str) -> str:
    """Name the first characters at which two texts differ."""
    for tag, i, _, j, _ in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag == "replace":
            return f"{_named(a[i])} is not {_named(b[j])}"
        if tag == "delete":
            return f"the second lacks {_named(a[i])}"
        if tag == "insert":
            return f"the first lacks {_named(b[j])}"
    raise ValueError("the texts are the same")


def _is_space(one: str) -> bool:
    return one in _SPACES or unicodedata.category(one) == "Zs"


def _is_invisible(one: str) -> bool:
    if one in _SPACES:
        return False
    selector = "\ufe00" <= one <= "\ufe0f" or "\U000e0100" <= one <= "\U000e01ef"
    return selector or one in _DRAWN_AS_NOTHING or unicodedata.category(one) in ("Cf", "Cc")


def _is_odd(one: str) -> bool:
    return one != " " and (_is_space(one) or _is_invisible(one))


def _named(one: str) -> str:
    if one == " ":
        return "a space"
    if one.isascii():
        return f"{one} (U+{ord(one):04X})"
    return f"{one} ({_code_and_name(one)})"


def _code_and_name(one: str) -> str:
    return f"U+{ord(one):04X} {unicodedata.name(one, '')}".strip()


_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def number(text: str) -> float | None:
    """Parse a decimal number; None where the text is none.

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
    """Return the position of a level; texts that look alike are equal, as are "1" and "1.0"."""
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


SAVE_AS = "save it as UTF-8"
_LINE_END = re.compile(rb"\r\n|\r|\n")


def read_written(path: Path, remedy: str = SAVE_AS) -> str:
    """Return the text of a UTF-8 file with line feeds only, without a byte order mark.

    Raises
    ------
    InputError : another encoding, or larger than `MOST_TEXT`.
    """
    return read_as_stored(path, remedy).replace("\r\n", "\n").replace("\r", "\n")


def read_as_stored(path: Path, remedy: str = SAVE_AS) -> str:
    """Return the text of a UTF-8 file with its own line ends.

    Raises
    ------
    InputError : another encoding, or larger than `MOST_TEXT`.
    """
    try:
        return read_bytes(path, MOST_TEXT, remedy).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = len(_LINE_END.findall(error.object[: error.start])) + 1
        raise InputError("not UTF-8 text", where=f"{path} line {line}", remedy=remedy) from None
