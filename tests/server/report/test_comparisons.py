"""The primary comparison and the exploratory ones, in rows and on the page."""

from __future__ import annotations

from typing import Any

import pytest

from common.study.analysis import PrimaryComparison
from server.report.comparisons import (
    comparison_sentence,
    difference_of,
    primary_block,
    primary_row,
    primary_sentence,
    with_holm,
    with_roles,
)
from server.report.results import parse
from server.report.schema import Results
from server.report.study_report import render

PRIMARY = PrimaryComparison(model_a="fusion_decision", model_b="clinical", set="internal")


def rows() -> list[dict[str, Any]]:
    return [
        {
            **{"set": name, "model_a": "clinical", "model_b": other, "z": -2.0, "p": p},
            **difference_of(0.7, 0.8, -2.0),
        }
        for name, other, p in (
            ("internal", "fusion_decision", 0.04),
            ("internal", "radiomics", 0.02),
            ("external", "fusion_decision", 0.03),
        )
    ]


def test_the_primary_comparison_stands_as_declared_and_is_not_corrected() -> None:
    first, *others = with_roles(rows(), PRIMARY)
    assert (first["role"], first["model_a"], first["z"]) == ("primary", "fusion_decision", 2.0)
    assert first["difference"] == pytest.approx(0.1)
    assert 0 < first["difference_low"] < 0.1 < first["difference_high"]
    assert "p_holm" not in first
    assert [row["p_holm"] for row in others] == pytest.approx([0.04, 0.04])


def test_without_a_declaration_all_are_exploratory() -> None:
    found = with_roles(rows(), None)
    assert {row["role"] for row in found} == {"exploratory"}
    assert [row["p_holm"] for row in found] == pytest.approx([0.06, 0.06, 0.06])


def test_tests_of_subgroups_are_corrected_together() -> None:
    assert [row["p_holm"] for row in with_holm([{"p": 0.01}, {"p": 0.5}])] == [0.02, 0.5]
    assert with_holm([]) == []


def test_interval_of_a_difference_ends_at_zero_where_p_is_one_in_twenty() -> None:
    found = difference_of(0.9, 0.8, 1.959964)
    assert found["difference_low"] == pytest.approx(0.0, abs=1e-6)
    assert found["difference_high"] == pytest.approx(0.2, abs=1e-6)


def test_the_page_shows_the_primary_comparison_first(whole: Results) -> None:
    block = primary_block(whole)
    assert block is not None
    (line,) = block.lines
    assert line.head == "Decision fusion against clinical, external test set 1"
    page = render(whole, [])
    row = primary_row(whole)
    assert row is not None
    assert primary_sentence(whole) in page.replace("&lt;", "<")
    assert primary_sentence(whole).startswith(
        "Primary comparison, declared before: on the external"
    )
    section = page[page.index('id="performance"') :]
    assert section.index("Primary comparison") < section.index("Cut-offs were chosen")
    assert "declared in the study that the hospitals approved" in section
    assert "Holm" in section


def test_the_page_says_that_no_comparison_was_declared(tree: dict[str, Any]) -> None:
    for row in tree["delong"]:
        row["role"] = "exploratory"
    results = parse(tree)
    assert primary_block(results) is None and primary_sentence(results) == ""
    assert comparison_sentence(results).startswith("The study declared no primary comparison. All ")
