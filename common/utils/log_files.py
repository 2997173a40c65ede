"""Keep logs of long-running programs from filling the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

MOST_BYTES, KEPT = 10 * 2**20, 5
"""Size at which a log is put aside, and how many of those are kept."""


def rotate(path: Path, most: int = MOST_BYTES, kept: int = KEPT) -> bool:
    """Put a log aside once it is too large; return whether it was.

    The file itself stays, emptied, since programs hold it open and append to it. Lines that are
    written in just that moment may be lost, so this is for logs alone and never for a ledger.

    Parameters
    ----------
    most : bytes.
    kept : files NAME.1, the newest, to NAME.`kept`.
    """
    if not path.is_file() or path.stat().st_size < most:
        return False
    for number in range(kept, 1, -1):
        older = path.with_name(f"{path.name}.{number - 1}")
        if older.is_file():
            older.replace(path.with_name(f"{path.name}.{number}"))
    aside = path.with_name(f"{path.name}.1")
    aside.touch(mode=path.stat().st_mode & 0o777)
    shutil.copyfile(path, aside)
    with path.open("r+b") as file:
        file.truncate(0)
    return True
