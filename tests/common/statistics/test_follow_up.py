from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lifelines import KaplanMeierFitter

from common.statistics.base import Rows
from common.statistics.follow_up import LifeTable
from common.statistics.log_rank import LogRank
from tests.fixtures.survival import PERIODS, follow_up, over_hospitals, with_scores

CUTS = np.array([[-0.4, 0.6], [0.0, 1.0]])


@pytest.fixture(scope="module")
def scored() -> Rows:
    rows = follow_up(500)
    return with_scores(rows, rows.values[:, 3], rows.values[:, 4])


def test_events_and_patients_at_risk_are_those_of_lifelines(scored: Rows) -> None:
    found = over_hospitals(LifeTable(CUTS, PERIODS), scored)
    for column in range(2):
        group = np.digitize(scored.values[:, column], CUTS[column])
        for place in range(3):
            own = scored.at(np.flatnonzero(group == place))
            table = KaplanMeierFitter().fit(own.period, own.label).event_table
            table = table.reindex(range(PERIODS), fill_value=0)
            np.testing.assert_array_equal(found.events[column, place], table["observed"])
            np.testing.assert_array_equal(found.censored[column, place], table["censored"])
            seen = table["observed"] + table["censored"] > 0
            np.testing.assert_array_equal(
                found.at_risk[column, place][seen], table["at_risk"][seen]
            )


def test_one_group_takes_no_cut(scored: Rows) -> None:
    found = over_hospitals(LifeTable(np.zeros((2, 0)), PERIODS), scored)
    assert found.events.shape == (2, 1, PERIODS)
    assert found.at_risk[0, 0, 0] == scored.n
    assert found.events[1].sum() == scored.label.sum()


def without_times(rows: Rows) -> Rows:
    return Rows(**{**vars(rows), "period": None})


@pytest.mark.parametrize("statistic", [LifeTable, LogRank])
def test_rows_without_times_or_beyond_the_grid_are_an_error(statistic: Any, scored: Rows) -> None:
    with pytest.raises(ValueError, match="no time"):
        statistic(CUTS, PERIODS).from_rows(without_times(scored))
    with pytest.raises(ValueError, match="outside the 5 periods"):
        statistic(CUTS, 5).from_rows(scored)
