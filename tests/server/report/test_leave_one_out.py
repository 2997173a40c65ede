"""Models without each hospital in turn, on the page and in the tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy
from statsmodels.stats.meta_analysis import combine_effects

from server.report import words
from server.report.leave_one_out import SUMMARY_COLUMNS, leave_one_out_blocks, summary_rows
from server.report.schema import Results

Z = scipy.stats.norm.ppf(0.975)


def test_every_hospital_has_a_line_and_their_summary_stands_below(whole: Results) -> None:
    area, slope, large = leave_one_out_blocks(whole)
    assert area.columns[2:] == ("Clinical", "Decision fusion")
    for block in (area, slope, large):
        assert [line.head for line in block.lines] == [
            *("qilu", "huaxi", "renji", "sysu"),
            *("Mean over hospitals", "Expected at a new hospital"),
        ]
    assert [cell.text for cell in area.lines[0].cells] == ["60, 24", "0.660", "0.840"]
    assert slope.lines[3].cells[1].text == words.MISSING
    # three slopes have a mean, and say nothing of a new hospital
    assert slope.lines[4].cells[1].text == "0.80"
    assert slope.lines[5].cells[1].text == words.MISSING
    assert "tau" in slope.lines[5].cells[1].small
    assert large.lines[1].cells[1].small == "\N{MINUS SIGN}0.50 to 0.30"


def test_the_summary_is_that_of_statsmodels(whole: Results) -> None:
    lines = [dict(zip(SUMMARY_COLUMNS, line, strict=True)) for line in summary_rows(whole)]
    found: Any = {(line["model"], line["measure"]): line for line in lines}
    assert set(found) == {
        (model, measure)
        for model in ("clinical", "fusion_decision")
        for measure in ("auc", "slope", "large")
    }
    own = [row for row in whole.leave_one_out if row.model == "clinical"]
    values = np.array([row.large for row in own], dtype=float)
    ends = np.array([[row.large_low, row.large_high] for row in own], dtype=float)
    errors = np.ptp(ends, axis=1) / (2 * Z)
    wanted = combine_effects(values, errors**2, method_re="iterated", use_t=True)
    line = found["clinical", "large"]
    assert line["mean"] == pytest.approx(wanted.mean_effect_re, abs=1e-8)
    assert line["tau"] == pytest.approx(np.sqrt(max(wanted.tau2, 0.0)), abs=1e-6)
    assert line["prediction_low"] < line["ci_low"] < line["ci_high"] < line["prediction_high"]
    assert 0.66 < found["clinical", "auc"]["mean"] < 0.72
    assert found["clinical", "slope"]["prediction_low"] is None


def test_without_such_runs_there_is_no_section(whole: Results) -> None:
    none = whole.model_copy(update={"leave_one_out": ()})
    assert leave_one_out_blocks(none) == [] and list(summary_rows(none)) == []
