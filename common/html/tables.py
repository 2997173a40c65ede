"""Tables as the templates print them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """Text of a table cell, a second line under it, and a key by which tests find it.

    `order` is what to sort by where the text is no plain number.
    """

    text: str
    small: str = ""
    key: str = ""
    strong: bool = False
    order: float | None = None


@dataclass(frozen=True)
class Line:
    """A table row: its heading and its cells; a pinned one stays last when others are sorted."""

    head: str
    cells: tuple[Cell, ...]
    key: str = ""
    pinned: bool = False


@dataclass(frozen=True)
class Block:
    """A table: title, sentence under it, column headings, rows."""

    title: str
    note: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    key: str = ""
    sortable: bool = True
