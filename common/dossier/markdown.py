"""Tables and numbers as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_UNITS = ("B", "kB", "MB", "GB", "TB")


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table; a cell's own bars are escaped.

    Raises
    ------
    ValueError : a row with another number of cells than there are headings.
    """
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    for row in rows:
        if len(row) != len(headings):
            raise ValueError(f"{len(row)} cells under {len(headings)} headings")
        cells = (cell.replace("|", "\\|").replace("\n", " ") for cell in row)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def bullets(items: Iterable[str]) -> str:
    """Write one line an item."""
    return "\n".join(f"- {item}" for item in items)


def document(*blocks: str) -> str:
    """Join blocks with an empty line between them, without empty ones."""
    return "\n\n".join(block.strip("\n") for block in blocks if block) + "\n"


def size(count: int) -> str:
    """Write bytes with three digits at most, in steps of a thousand: 999 B, 1.2 kB, 41 MB."""
    value, unit = float(count), 0
    while round(value) >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000.0, unit + 1
    digits = 1 if unit and value < 9.95 else 0
    return f"{value:.{digits}f} {_UNITS[unit]}"


def shape(axes: Iterable[int]) -> str:
    """Write the sizes of an array: 5 x 1,682,695; "1" for a single number."""
    return " x ".join(f"{axis:,}" for axis in axes) or "1"


def code(names: Iterable[str]) -> str:
    """Write names as code, with commas."""
    return ", ".join(f"`{name}`" for name in names)
