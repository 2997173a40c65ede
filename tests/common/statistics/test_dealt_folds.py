"""Counts that decide the folds, and the question that deals them."""

from __future__ import annotations

import numpy as np
import pytest

from common.messages.exchanges import SumItem
from common.statistics.base import Rows
from common.statistics.dealt_folds import DealtFolds, LevelTotals
from common.transforms.views import table

CODES = np.array([[0.0, 2.0], [1.0, np.nan], [1.0, 0.0]])
ROWS = Rows(CODES, ("sex", "stage"), np.array([0.0, 1.0, 1.0]), np.array([0, 1, 1]))


def test_totals_leave_missing_values_out_and_go_back_to_the_sites() -> None:
    statistic = LevelTotals(levels=3)
    found = statistic.finalise(statistic.from_rows(ROWS)).counts
    assert found.tolist() == [[1.0, 2.0, 0.0], [1.0, 0.0, 1.0]]
    assert SumItem(statistic, table("coded"), "train").goes_back


@pytest.mark.parametrize(
    ("totals", "exceeded"),
    [
        ([[1.0, 2.0, 0.0], [1.0, 0.0, 1.0]], False),
        ([[9.0, 9.0, 9.0], [9.0, 9.0, 9.0]], False),
        ([[9.0, 1.0, 9.0], [9.0, 9.0, 9.0]], True),
        ([[9.0, 9.0, 9.0]], True),
        ([[9.0, 9.0], [9.0, 9.0]], True),
    ],
)
def test_totals_that_leave_out_rows_of_a_site_are_found(
    totals: list[list[float]], exceeded: bool
) -> None:
    assert DealtFolds(folds=2, totals=np.array(totals)).exceeded_by(ROWS) == exceeded


def test_no_later_question_comes_before_every_site_has_dealt() -> None:
    dealt = DealtFolds(folds=2, totals=np.full((2, 3), 9.0))
    assert SumItem(dealt, table("coded"), "train").goes_back
