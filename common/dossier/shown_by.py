"""Tests that show what the dossier says, as short references at the ends of its sentences."""

from __future__ import annotations

import re
import tomllib
from importlib import resources

from common.dossier.markdown import document, table

OPEN = "open"
REFERENCE = re.compile(r"\[(@\w+(?: @\w+)*)\]")
LIST = """\
A number in brackets on the first pages stands for one of these tests of the program, as FILE::TEST.
`pytest FILE::TEST` runs it in a checkout of the release."""


def tests_by_name() -> dict[str, str]:
    """Return the tests as `file::test` in the order of their numbers, by name."""
    text = resources.files("common.dossier").joinpath("shown_by.toml").read_text(encoding="utf-8")
    return {name: str(test) for name, test in tomllib.loads(text).items()}


def with_numbers(text: str) -> str:
    """Put numbers in place of names: `[@masked @alone]` becomes `[14, 17]`.

    Raises
    ------
    KeyError : a name that has no test.
    """
    numbers = {f"@{name}": number for number, name in enumerate(tests_by_name(), 1)}

    def numbered(found: re.Match[str]) -> str:
        names = found[1].split()
        if names == [f"@{OPEN}"]:
            return f"[{OPEN}]"
        return f"[{', '.join(map(str, sorted(numbers[name] for name in names)))}]"

    return REFERENCE.sub(numbered, text)


def tests_section() -> str:
    """List the tests with their numbers."""
    rows = [[str(number), f"`{test}`"] for number, test in enumerate(tests_by_name().values(), 1)]
    return document("## Tests that show it", LIST, table(["number", "test"], rows)).rstrip("\n")
