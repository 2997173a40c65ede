"""Text files that people write, on whatever machine."""

from __future__ import annotations

from pathlib import Path

from common.errors import InputError

SAVE_AS = "save it as UTF-8"


def read_written(path: Path, remedy: str = SAVE_AS) -> str:
    """The text of a UTF-8 file, without the mark that some editors put before it.

    Raises
    ------
    InputError : another encoding.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError("not UTF-8 text", where=f"{path} line {line}", remedy=remedy) from None
