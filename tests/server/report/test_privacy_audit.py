from __future__ import annotations

from typing import Any

import pytest

from server.report.privacy_audit import (
    canaries_block,
    linkage_words,
    membership_block,
    releases_block,
)
from server.report.results import parse
from server.report.study_report import render

DASH = "\N{EN DASH}"
SHARES = {
    **{"auc": 0.58, "auc_low": 0.49, "auc_high": 0.67},
    **{"tpr": 0.07, "tpr_low": 0.03, "tpr_high": 0.13},
}
ATTACKED = {"site": "north", "model": "clinical", "members": 140, "others": 41, **SHARES}


@pytest.fixture
def audited(tree: dict[str, Any]) -> dict[str, Any]:
    other = {**ATTACKED, "run": "local:north", "auc": 0.99}
    linkage = [{"patients": 300, "unique": 7}]
    figures = [
        {"site": "north", "smallest": 8, "determined": 0, "epsilon": 1.25, "stand_ins": 6},
        {"site": "east", "smallest": 5, "determined": 2, "epsilon": None, "stand_ins": None},
    ]
    names = ("searched", "planted", "found", "chance", "patients", "patients_found")
    searched = [
        {"site": site, "decoder": "components", **dict(zip(names, numbers, strict=True))}
        for site, numbers in (
            ("north", (3, 9, 4, 1, 40, 3)),
            ("south", (3, 9, 0, 0, 40, 0)),
            ("east", (0, 0, 0, 0, 0, 0)),
            ("west", (None,) * 6),
        )
    ]
    rows = {"membership": [ATTACKED, other], "linkage": linkage, "releases": figures}
    rows["canaries"] = searched
    return {**tree, **rows}


def test_the_attack_stands_with_its_intervals_for_the_main_run_alone(
    audited: dict[str, Any],
) -> None:
    block = membership_block(parse(audited))
    assert block is not None
    (line,) = block.lines
    cells = [(cell.text, cell.small) for cell in line.cells]
    assert cells[1] == ("140, 41", "")
    assert cells[2:] == [("0.58", f"0.49{DASH}0.67"), ("0.07", f"0.03{DASH}0.13")]


def test_the_page_has_the_audit_and_nothing_where_nothing_was_measured(
    audited: dict[str, Any], tree: dict[str, Any]
) -> None:
    page = render(parse(audited), [])
    assert 'id="privacy-audit"' in page and "Of 300 patients 7 have" in page
    assert 'id="privacy-audit"' not in render(parse(tree), [])
    assert membership_block(parse(tree)) is None and not linkage_words(parse(tree))


def test_determined_patients_stand_out_and_an_endless_epsilon_is_named(
    audited: dict[str, Any],
) -> None:
    block = releases_block(parse(audited))
    assert block is not None
    north, east = block.lines
    assert [cell.text for cell in north.cells] == ["8", "0", "1.25", "6"]
    assert [cell.text for cell in east.cells] == ["5", "2", "no bound", DASH]
    assert east.cells[1].strong and not north.cells[1].strong


def test_canaries_stand_beside_chance_and_what_was_not_measured_is_no_zero(
    audited: dict[str, Any], tree: dict[str, Any]
) -> None:
    block = canaries_block(parse(audited))
    assert block is not None
    north, south, east, west = ([cell.text for cell in line.cells[1:]] for line in block.lines)
    assert north == ["3", "4 of 9", "1 of 9", "at most 3 of 40"]
    assert south == ["3", "0 of 9", "0 of 9", "0 of 40"]
    assert east == ["none to search", DASH, DASH, DASH]
    assert west == ["not measured", DASH, DASH, DASH]
    strong = [[cell.strong for cell in line.cells[1:]] for line in block.lines]
    assert strong == [[False, True, False, True], *[[False] * 4] * 3]
    assert canaries_block(parse(tree)) is None
    assert "made-up patients" in render(parse(audited), [])
