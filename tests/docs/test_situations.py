"""Each row of docs/situations.md has a test of its own, which reads what the row says one sees."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "situations.md"


class Situation(NamedTuple):
    """Row of the table."""

    name: str
    seen: str
    cure: str
    test: str


def situations() -> list[Situation]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [Situation(*row) for row in rows if len(row) == 4][1:]


@pytest.mark.parametrize("row", situations(), ids=lambda row: row.name)
def test_its_test_is_there_and_reads_what_one_sees(row: Situation) -> None:
    file, _, name = row.test.strip(" `|").partition("::")
    text = (ROOT / file).read_text(encoding="utf-8")
    assert f"def {name}(" in text
    quoted = re.findall(r"`([^`]+)`", row.seen)
    # a text over two lines of the test is one text
    joined = re.sub(r'"\s*\n\s*f?r?"', "", text)
    assert any(words in joined for words in quoted), quoted
    assert row.cure


def test_no_test_stands_for_two_situations() -> None:
    tests = [row.test for row in situations()]
    assert len(set(tests)) == len(tests) >= 12
