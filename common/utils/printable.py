"""Text of others on a person's screen: what does not print could change what the person reads.

A terminal takes some characters for commands: to hide what follows, to go back and write over what
stands there. Others turn the order of letters around.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

_MOST_NAMED = 3


def escaped(text: str) -> str:
    r"""The text with `\x1b` and the like in place of what does not print; lines stay lines."""
    return "\n".join(on_one_line(line) for line in text.split("\n"))


def on_one_line(text: str) -> str:
    r"""The text on one line, with `\n` and the like in place of what does not print."""
    if text.isprintable():
        return text
    return "".join(one if _prints(one) else _spelled(one) for one in text)


def check_printable(value: Any) -> None:
    """ValueError when a text in a value, however deep, is not plain text on one line."""
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
    """Whether a character is seen as itself; a space that no line may be broken at is."""
    return one.isprintable() or unicodedata.category(one) == "Zs"


def _spelled(one: str) -> str:
    return one.encode("unicode_escape").decode()
