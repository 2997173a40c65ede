"""Rows, table and figure of a time to event."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from common.evaluation.follow_up import calibration_at, join_periods
from common.evaluation.follow_up_findings import FollowUpFindings, without_measures
from common.study.follow_up import FollowUp
from server.report.follow_up import (
    draw_survival,
    follow_up_block,
    follow_up_rows,
    headline,
    performance_rows,
)
from server.report.results import parse
from server.report.rows import shown_counts
from tests.fixtures import synthetic_results

GRID = FollowUp(ends=(6.0, 12.0, 24.0), horizons=(6.0, 12.0))
CUTOFFS = {"clinical": 0.2}
EVENTS = np.array([[1.0, 4.0, 5.0], [8.0, 6.0, 2.0]])
CENSORED = np.array([[0.0, 5.0, 9.0], [0.0, 3.0, 7.0]])


def findings(**changes: Any) -> FollowUpFindings:
    given: dict[str, Any] = {
        "subset": "internal",
        "patients": 50,
        "events": 26,
        "shown": True,
        "harrell": np.array([[0.7, 0.2]]),
        "uno": np.array([[0.68, 0.05]]),
        "areas": np.array([[[0.72, 0.05], [0.74, 0.04]]]),
        "groups": join_periods(EVENTS[None], CENSORED[None], 3),
        "tests": np.array([[4.2, 0.04]]),
        "within": np.array([[3.9, 0.05]]),
        "calibration": (calibration_at(EVENTS, CENSORED, np.array([0.0, 0.2, 1.0]), 0, 3),),
    }
    return FollowUpFindings(**{**given, **changes})


def test_intervals_lie_on_the_logit_and_so_within_0_and_1() -> None:
    (row,) = follow_up_rows([findings()], CUTOFFS, GRID)
    # qlogis(0.7) + c(-1, 1) * qnorm(0.975) * 0.2 / (0.7 * 0.3) in R
    assert row["harrell_low"] == pytest.approx(0.265157, abs=1e-5)
    assert row["harrell_high"] == pytest.approx(0.937844, abs=1e-5)
    assert row["areas"][1]["auc"] == 0.74 and row["areas"][1]["horizon"] == 12.0


def test_periods_with_small_counts_are_joined_before_a_curve_is_drawn() -> None:
    (row,) = follow_up_rows([findings()], CUTOFFS, GRID)
    low, high = row["groups"]
    assert low["times"] == high["times"] == [24.0]
    assert low["events"] == [10] and high["events"] == [16]
    assert low["at_risk"] == [24] and high["at_risk"] == [26]
    (finer,) = follow_up_rows(
        [findings(groups=join_periods(EVENTS[None], CENSORED[None], 2))], CUTOFFS, GRID
    )
    assert finer["groups"][0]["times"] == [12.0, 24.0]
    assert finer["groups"][0]["survival"][0] == pytest.approx(1 - 5 / (24 - 5 / 2))


def test_no_curve_is_left_where_all_periods_together_are_small() -> None:
    (few,) = join_periods(np.array([[[1.0, 0.0], [3.0, 3.0]]]), np.full((1, 2, 2), 5.0), 3)
    assert few.last.size == 0 and few.events.shape == (2, 0)
    (row,) = follow_up_rows([findings(groups=(few,))], CUTOFFS, GRID)
    assert row["groups"] == []


def test_groups_of_few_events_have_no_calibration() -> None:
    (row,) = follow_up_rows([findings()], CUTOFFS, GRID)
    first, second = row["calibration"]
    assert first["n"] is None and np.isnan(first["observed"])
    assert second["n"] == 26 and second["observed"] == pytest.approx(8 / 26)
    assert row["observed"] == pytest.approx(9 / 50)


def test_a_withheld_set_has_its_counts_where_they_are_large() -> None:
    withheld = without_measures("external", 40, 2, 1, len(GRID.horizons))
    counts = partial(shown_counts, minimum=3)
    (row,) = performance_rows([withheld], CUTOFFS, GRID, counts)
    assert row["n"] == 40 and row["positives"] is None and "auc" not in row
    assert row["method"].startswith("withheld")


def test_the_page_has_a_table_and_a_figure_a_set() -> None:
    tree = {**synthetic_results.STUDY, "schema": 1}
    counts = partial(shown_counts, minimum=3)
    key = {"run": "federated"}
    tree["performance"] = [
        {**key, **row} for row in performance_rows([findings()], CUTOFFS, GRID, counts)
    ]
    tree["follow_up"] = [{**key, **row} for row in follow_up_rows([findings()], CUTOFFS, GRID)]
    results = parse(tree)
    block = follow_up_block(results)
    assert block is not None and len(block.lines) == 1
    assert len(block.columns) == 1 + len(block.lines[0].cells)
    (drawing,) = draw_survival(results)
    assert drawing.name == "survival-clinical-internal"
    assert headline(results) == ""


def test_a_study_without_times_has_none_of_it() -> None:
    results = parse({**synthetic_results.STUDY, "schema": 1})
    assert follow_up_block(results) is None and not list(draw_survival(results))
