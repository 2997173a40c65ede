"""Text files that people write, on whatever machine."""

from __future__ import annotations

import re
from pathlib import Path

from common.errors import InputError

SAVE_AS = "save it as UTF-8"
_LINE_END = re.compile(rb"\r\n|\r|\n")


def read_written(path: Path, remedy: str = SAVE_AS) -> str:
    """Return the text of a UTF-8 file with every line end as a line feed.

    The mark that some editors put before the text is left out.

    Raises
    ------
    InputError : another encoding.
    """
    return read_as_stored(path, remedy).replace("\r\n", "\n").replace("\r", "\n")


def read_as_stored(path: Path, remedy: str = SAVE_AS) -> str:
    """Return the text of a UTF-8 file with the line ends that it has.

    Raises
    ------
    InputError : another encoding.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = len(_LINE_END.findall(error.object[: error.start])) + 1
        raise InputError("not UTF-8 text", where=f"{path} line {line}", remedy=remedy) from None
