"""The sentences of the dossier's two pages name tests, and these exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from common.dossier import in_plain_words
from common.dossier.general import (
    OPEN,
    REFERENCE,
    general_dossier,
    tests_by_name,
    two_pages,
    with_numbers,
)
from common.masking.leaving import LeftSite
from server.phases.program import declared_phases
from tests.common.dossier.test_of_study import study_with

ROOT = Path(__file__).resolve().parents[3]
TEXTS = ("plain_words.md", "of_study.py", "measured.py")
STUDIES: dict[str, dict[str, Any]] = {
    "rows": {},
    "bins": {"fusion": {"pooling": "bins"}},
    "off": {"privacy": {"masking": "off", "mode": "faithful", "min_rows": 4}},
    "wide": {"dl2d": {"widths": [64, 128, 256, 1024], "unusual": True}},
    "two": {"tests": {"t": ("external_test", "cd")}},
}
TITLE = re.compile(r"^\*\*[^*]*\*\* ?")
END = re.compile(r"\[(\d+(, \d+)*|open)\]\.?$")


def unshown(page: str) -> list[str]:
    """Return the sentences that end without a reference; titles are no sentences."""
    found = []
    for block in page.split("\n\n"):
        if block.startswith("## "):
            continue
        if block.startswith("|"):
            found += [row for row in block.splitlines()[2:] if not END.search(row.rstrip("| "))]
            continue
        for item in re.split(r"(?:^|\n)- ", block):
            words = TITLE.sub("", " ".join(item.split()))
            sentences = re.split(r"(?<=[.!?]) (?=[A-Z`])", words)
            found += [one for one in sentences if one and not END.search(one)]
    return found


def test_every_test_that_is_named_exists() -> None:
    for name, test in tests_by_name().items():
        file, _, function = test.partition("::")
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert function in defined, name


def test_every_name_is_used_and_no_other() -> None:
    texts = [(ROOT / "common" / "dossier" / name).read_text(encoding="utf-8") for name in TEXTS]
    used = {name for text in texts for name in re.findall(r"@([a-z_]+)\b", text)}
    assert used - {OPEN} == set(tests_by_name())


def test_every_sentence_of_the_general_pages_names_its_test() -> None:
    assert not unshown(two_pages())
    assert not REFERENCE.search(general_dossier())


@pytest.mark.parametrize("name", STUDIES)
def test_every_sentence_of_a_studys_pages_names_its_test(name: str) -> None:
    study = study_with(**STUDIES[name])
    page = in_plain_words(study, declared_phases(study))
    assert not unshown(page)
    assert not REFERENCE.search(page)


def test_a_hospital_that_left_is_written_about_with_a_reference() -> None:
    statement = LeftSite(site="e", roster="0" * 64, public_key="", signature="")
    study = study_with().model_copy(update={"left": (statement,)})
    assert not unshown(in_plain_words(study, declared_phases(study)))


@pytest.mark.parametrize(
    "page",
    ["- A is so.\n- B is so [1].", "One is [open]. Two is.", "- **T.** So.", "| a |\n|---|\n| b |"],
)
def test_a_sentence_without_a_reference_is_found(page: str) -> None:
    assert len(unshown(page)) == 1


def test_numbers_stand_in_order_and_unknown_names_are_errors() -> None:
    first, second, *_ = tests_by_name()
    assert with_numbers(f"So [@{second} @{first}]. Thus [@open].") == "So [1, 2]. Thus [open]."
    with pytest.raises(KeyError):
        with_numbers("So [@nowhere].")


def words(page: str) -> int:
    """Count what is read, without bars of tables and numbers of tests."""
    return sum(any(map(str.isalpha, word)) for word in page.split())


def test_two_pages_are_two_pages() -> None:
    study = study_with()
    assert words(two_pages()) <= 1000
    assert words(in_plain_words(study, declared_phases(study))) <= 1100
