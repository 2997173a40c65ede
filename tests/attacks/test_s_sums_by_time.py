"""Attack (s): read single patients' risks from what neighbouring periods differ by."""

from __future__ import annotations

import numpy as np
import pytest

from common.statistics.base import Float, Int, Rows
from common.statistics.risk_sums import RiskSums, risk_starts
from tests.fixtures.survival import SHARES, over_hospitals

PERIODS, LAST, PATIENTS = 60, 23, 120


@pytest.fixture
def rows() -> Rows:
    """Linear predictors of 120 patients of six hospitals, on a grid of 60 months."""
    random = np.random.default_rng(3)
    time = random.weibull(1.2, PATIENTS)
    period = (time / np.quantile(time, 0.98) * PERIODS).astype(np.int64)
    return Rows(
        values=random.normal(size=(PATIENTS, 1)),
        columns=("risk",),
        label=(random.random(PATIENTS) < 0.4).astype(float),
        fold=np.zeros(PATIENTS, dtype=np.int64),
        origin=np.repeat(np.arange(6), np.round(np.array(SHARES) * PATIENTS).astype(int)),
        period=np.minimum(period, PERIODS - 1),
    )


def found_exactly(rows: Rows, starts: Int) -> int:
    """Count patients whose predictor is what two neighbouring sums differ by."""
    sums = over_hospitals(RiskSums(PERIODS, starts), rows)
    between: Float = -np.diff(sums.weights[0])
    risks = np.exp(rows.values[:, 0])
    return int((np.abs(between[:, None] - risks) < 1e-8).any(axis=0).sum())


def test_sums_of_every_period_give_many_patients_away(rows: Rows) -> None:
    assert found_exactly(rows, np.arange(PERIODS)) == 11


def test_sums_at_the_starts_that_a_study_asks_for_give_none(rows: Rows) -> None:
    assert found_exactly(rows, risk_starts(PERIODS, LAST, PATIENTS)) == 0


def test_the_hazard_is_nearly_that_of_all_periods(rows: Rows) -> None:
    every = over_hospitals(RiskSums(PERIODS, np.arange(PERIODS)), rows)
    some = over_hospitals(RiskSums(PERIODS, risk_starts(PERIODS, LAST, PATIENTS)), rows)
    hazard = some.cumulative_hazard()[0]
    assert hazard.size == LAST + 1
    assert hazard[LAST] == pytest.approx(every.cumulative_hazard()[0, LAST], rel=0.02)
