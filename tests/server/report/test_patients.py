"""Table 1 on the page: what the numbers look like, and what is said of those that are not there."""

from __future__ import annotations

from typing import Any

import pytest

from common.html.pages import Block
from server.report.patients import flow_block, pairs_block, table1_block
from server.report.reading import set_label
from server.report.results import parse
from server.report.schema import Results


def continuous(**changes: Any) -> dict[str, Any]:
    cell = {"n": 40, "mean": 61.84, "sd": 8.26}
    row = {"variable": "age (years)", "kind": "continuous", "sets": {"train": cell}}
    return {**row, "test": "t", "p": 0.31, **changes}


def levels(**changes: Any) -> list[dict[str, Any]]:
    cells = {"no": {"n": 30, "percent": 75.0}, "yes": {"n": 10, "percent": 25.0}}
    return [
        {
            "variable": "fistula",
            "level": level,
            "kind": "binary",
            "sets": {"train": cell},
            "test": "chi-square",
            "p": 0.2,
            **changes,
        }
        for level, cell in cells.items()
    ]


@pytest.fixture
def shown(tree: dict[str, Any]) -> Any:
    def show(*rows: dict[str, Any]) -> Block:
        tree["table1"] = list(rows)
        block = table1_block(parse(tree))
        assert block is not None
        return block

    return show


def texts(block: Block) -> list[list[str]]:
    return [[line.head, *(cell.text for cell in line.cells)] for line in block.lines]


@pytest.mark.parametrize(
    ("decimals", "text"), [(None, "61.8 ± 8.3"), (0, "61.8 ± 8.3"), (1, "61.84 ± 8.26")]
)
def test_means_have_one_decimal_more_than_recorded(shown: Any, decimals: Any, text: str) -> None:
    assert texts(shown(continuous(decimals=decimals)))[0] == ["Age (years)", text, "0.31", "t"]


def test_means_of_small_numbers_show_two_digits_of_their_spread(shown: Any) -> None:
    cell = {"n": 9, "mean": 0.01234, "sd": 0.00217}
    assert texts(shown(continuous(sets={"train": cell})))[0][1] == "0.0123 ± 0.0022"


@pytest.mark.parametrize(
    ("middle", "text"), [(2.0, "2 (1\N{EN DASH}7)"), (2.5, "2.5 (1.0\N{EN DASH}7.0)")]
)
def test_medians_stand_with_their_quartiles(shown: Any, middle: float, text: str) -> None:
    cell = {"n": 40, "median": middle, "q1": 1.0, "q3": 7.0}
    row = continuous(sets={"train": cell}, decimals=0, test="Mann-Whitney (grouped)")
    block = shown(row)
    assert texts(block)[0][1] == text
    assert "median (quartiles)" in block.title
    assert "approximate" in block.note


def test_patients_without_a_value_are_counted_under_the_variable(shown: Any) -> None:
    block = shown(continuous(missing={"train": 3}), *levels(missing={"train": 0}))
    assert [line.cells[0].small for line in block.lines] == ["3 missing", "", "", ""]
    assert not block.note


def test_withheld_counts_say_so_and_p_is_a_range(shown: Any) -> None:
    gap = {"train": {"n": None, "percent": None, "suppressed": True}}
    rows = levels(sets=gap, p=None, p_band=[0.01, 0.05], missing={"train": None})
    block = shown(*rows)
    assert texts(block)[0] == ["Fistula", "", "0.01\N{EN DASH}0.05", "chi-square"]
    assert texts(block)[1] == ["No", "withheld", "", ""]
    assert block.lines[0].cells[0].small == "missing: withheld"
    assert "Withheld" in block.note


@pytest.mark.parametrize(
    ("band", "text"),
    [([0.0, 0.001], "<0.001"), ([0.1, 1.0], "\N{GREATER-THAN OR EQUAL TO}0.1"), (None, "withheld")],
)
def test_outer_bands_and_no_band(shown: Any, band: Any, text: str) -> None:
    gap = {"train": {"n": None, "suppressed": True}}
    assert texts(shown(*levels(sets=gap, p=None, p_band=band)))[0][2] == text


def test_mean_of_few_is_withheld_and_of_nobody_missing(shown: Any) -> None:
    few = {"train": {"n": 4, "mean": None, "suppressed": True}, "test": {"n": 0, "mean": None}}
    assert texts(shown(continuous(sets=few, p=None)))[0][1:4] == [
        "withheld",
        "\N{EN DASH}",
        "\N{EN DASH}",
    ]


def test_a_median_that_is_not_known_well_enough_is_withheld_and_says_why(shown: Any) -> None:
    gap = {"n": 40, "median": None, "q1": None, "q3": None, "note": "not within the bound"}
    row = continuous(sets={"train": gap}, p=None, note="P withheld: the order is not known")
    block = shown(row)
    assert texts(block)[0][1:3] == ["withheld", "withheld"]
    assert "Age (years), Training: median or quartiles withheld; not within the bound." in (
        block.note.replace("Training set", "Training")
    )
    assert "Age (years): P withheld: the order is not known." in block.note


def test_each_test_set_stands_with_its_p_against_the_training_set(whole: Results) -> None:
    block = pairs_block(whole)
    assert block is not None
    assert block.columns == (
        "Characteristic",
        *map(set_label, ("internal", "external_1", "external_2")),
    )
    rows = {line.head: line.cells for line in block.lines}
    assert [cell.text for cell in rows["Sex"]] == [
        "0.063",
        "\N{GREATER-THAN OR EQUAL TO}0.1",
        "withheld",
    ]
    assert [cell.small for cell in rows["Sex"]] == ["Fisher", "Fisher", "small counts"]
    assert all(cell.strong for cell in rows["Primary site"])
    assert not any(cell.strong for cell in rows["Age"])


def test_the_flow_counts_the_axial_slices_of_each_set(whole: Results) -> None:
    block = flow_block(whole)
    assert block is not None
    (line,) = (one for one in block.lines if one.head == "Axial slices")
    assert [cell.text for cell in line.cells] == ["3817", "1150", "1512", "withheld", ""]
    assert [cell.small for cell in line.cells[:2]] == ["12.7 a patient", "12.9 a patient"]


def test_without_a_network_on_slices_none_are_counted(tree: dict[str, Any]) -> None:
    tree["slices"] = []
    block = flow_block(parse(tree))
    assert block is not None and "Axial slices" not in {line.head for line in block.lines}


def test_one_test_set_needs_no_second_table(tree: dict[str, Any]) -> None:
    for row in tree["table1"]:
        row["pairs"] = {}
    assert pairs_block(parse(tree)) is None
