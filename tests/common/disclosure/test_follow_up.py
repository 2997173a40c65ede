from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.statistics.cox import CoxGradient
from common.statistics.follow_up import LifeTable
from common.statistics.log_rank import LogRank
from common.statistics.ranked_pairs import RankedPairs
from common.statistics.risk_sums import RiskSums

GRADIENT = CoxGradient(np.zeros((1, 1)), np.zeros((1, 5)), np.array([-1]), periods=3)
NO_CUT = np.zeros((1, 0))
EDGES = np.array([[0.0, 0.5, 1.0]])


@pytest.mark.parametrize(
    "statistic",
    [
        GRADIENT,
        LifeTable(NO_CUT, 3),
        LogRank(NO_CUT, 3),
        RankedPairs(EDGES, 3, np.array([1])),
        RiskSums(3, np.array([0, 1, 2])),
    ],
    ids=lambda statistic: type(statistic).__name__,
)
def test_nothing_is_told_of_times_in_a_study_without_any(
    rows: Any, asked: Any, statistic: Any
) -> None:
    usual = rows(np.zeros((50, 1)))
    assert [rule for rule, _ in asked(statistic, usual)] == ["periods"]


def with_times(study: Any) -> Any:
    return study(follow_up={"ends": [6.0, 12.0, 24.0], "horizons": [12.0]})


def test_a_gradient_of_a_cox_model_is_not_made_of_test_patients(
    rows: Any, asked: Any, study: Any
) -> None:
    usual, timed = rows(np.zeros((50, 1)), period=np.arange(50) % 3), with_times(study)
    assert asked(GRADIENT, usual, study=timed) == []
    assert [rule for rule, _ in asked(GRADIENT, usual, "spread", study=timed)] == ["subset"]


def test_pairs_of_a_set_that_one_hospital_holds_alone_are_refused(
    rows: Any, asked: Any, study: Any
) -> None:
    usual, timed = rows(np.zeros((50, 1)), period=np.arange(50) % 3), with_times(study)
    pairs = RankedPairs(EDGES, 3, np.array([1]))
    assert [rule for rule, _ in asked(pairs, usual, "one", study=timed)] == ["one_site_scores"]
    assert asked(pairs, usual, "spread", study=timed) == []


@pytest.mark.parametrize("starts", [[1, 2], [0, 2, 1], [0, 3], [0, 0], []])
def test_risks_at_starts_that_are_none_are_refused(
    rows: Any, asked: Any, study: Any, starts: list[int]
) -> None:
    usual, timed = rows(np.zeros((50, 1)), period=np.arange(50) % 3), with_times(study)
    statistic = RiskSums(3, np.array(starts, dtype=np.int64))
    assert [rule for rule, _ in asked(statistic, usual, study=timed)] == ["periods"]


def test_a_finer_grid_than_the_studys_is_refused(rows: Any, asked: Any, study: Any) -> None:
    usual, timed = rows(np.zeros((50, 1)), period=np.arange(50) % 3), with_times(study)
    finer = LifeTable(NO_CUT, 30)
    assert [rule for rule, _ in asked(finer, usual, "spread", study=timed)] == ["periods"]
