from __future__ import annotations

from typing import Any

import pytest

from server.report.privacy_audit import linkage_words, membership_block
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
    return {**tree, "membership": [ATTACKED, other], "linkage": linkage}


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
