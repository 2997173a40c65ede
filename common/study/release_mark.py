"""Release that wrote a study file, kept in its first line: a comment, which no digest covers."""

from __future__ import annotations

import re
from pathlib import Path

from common.utils.versions import PACKAGE, installed, minor_release

_MARK = "# Prepared by fedlnm "
_PATTERN = re.compile(r"# Prepared by fedlnm ([0-9][0-9A-Za-z.+-]{0,39})\.?\r?\n")


def own_release() -> str:
    """Return the version that is installed here."""
    return installed(PACKAGE)[PACKAGE]


def mark(path: Path) -> Path:
    """Write this release into the first line of a study file, and return its path."""
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{_MARK}{own_release()}\n{text}", encoding="utf-8")
    return path


def marked_release(path: Path) -> str:
    """Return the release that prepared a study file; empty where the file does not say."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        found = _PATTERN.match(file.readline(200))
    return found[1] if found else ""


def other_release(path: Path) -> tuple[str, str] | None:
    """Return fault and remedy where another minor release prepared a study file; None otherwise."""
    theirs, own = marked_release(path), own_release()
    if not theirs or minor_release(theirs) == minor_release(own):
        return None
    return (
        f"the coordinator prepared it with release {theirs}, and release {own} is installed here",
        f"install release {theirs} here: coordinator and hospitals of a study run releases that"
        " share their first two numbers",
    )
