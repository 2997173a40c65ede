"""Tables of calibration on the page."""

from __future__ import annotations

from typing import Any

from server.report.calibration import calibration_blocks, part_blocks, recalibration_blocks
from server.report.calibration_rows import GROUPED, NO_SLOPE
from server.report.measures import precision_blocks
from server.report.results import parse
from server.report.schema import Results
from server.report.study_report import render


def test_every_set_has_a_row_a_model_with_intervals(whole: Results) -> None:
    blocks = calibration_blocks(whole)
    assert [len(block.lines) for block in blocks] == [6, 6, 6, 6]
    by_key = {(row.set, row.model): row for row in whole.calibration_fits if not row.variable}
    for block in blocks:
        for line in block.lines:
            row = by_key[block.key.removeprefix("fit-"), line.key]
            if row.site:
                continue
            assert line.cells[0].text == f"{row.oe:.2f}"
            assert line.cells[0].small == f"{row.oe_low:.2f} to {row.oe_high:.2f}"


def test_slopes_of_few_patients_in_groups_are_missing_with_the_reason(tree: dict[str, Any]) -> None:
    for row in tree["calibration_fits"]:
        if row["set"] == "external_2":
            row |= {"slope": None, "slope_low": None, "slope_high": None, "note": GROUPED}
    *_, last = calibration_blocks(parse(tree))
    assert {line.cells[2].text for line in last.lines} == {"\N{EN DASH}"}
    assert GROUPED in last.note


def test_hospitals_and_subgroups_have_a_table_of_their_own(whole: Results) -> None:
    blocks = {block.key: block for block in part_blocks(whole)}
    heads = {line.head for line in blocks["parts-internal"].lines}
    assert heads == {"north", "east", "T stage: T1-2"}
    assert "T stage: T3-4: few." in blocks["parts-internal"].note


def test_recalibration_is_shown_for_patients_from_elsewhere_alone(whole: Results) -> None:
    blocks = recalibration_blocks(whole)
    assert [block.key for block in blocks] == [
        "recalibration-external_1",
        "recalibration-external_2",
    ]
    first = blocks[0].lines
    assert len(first) == 18
    assert [line.cells[0].text for line in first[:3]] == [
        "as it is",
        "new intercept",
        "new intercept and slope",
    ]
    briers = [float(line.cells[3].text) for line in first[:3]]
    assert briers[2] <= briers[1] <= briers[0]


def test_average_precision_stands_beside_the_share_without_skill(whole: Results) -> None:
    first, *_ = precision_blocks(whole)
    assert "Without skill: 0.413" in first.note
    assert len(first.lines) == 6


def test_results_of_the_first_releases_have_no_such_tables(tree: dict[str, Any]) -> None:
    tree["calibration_fits"], tree["recalibration"] = [], []
    for row in tree["performance"]:
        for name in ("average_precision", "ap_low", "ap_high"):
            row.pop(name)
    for row in tree["calibration"]:
        row.pop("curve")
    for row in tree["decision_curve"]:
        row.pop("low")
        row.pop("high")
    tree["settings"].pop("analysis")
    results = parse(tree)
    assert not calibration_blocks(results) and not part_blocks(results)
    assert not recalibration_blocks(results) and not precision_blocks(results)
    page = render(results)
    assert "thresholds of 0 to 100 %" in page
    assert NO_SLOPE not in page
