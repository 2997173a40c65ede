from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.statistics.icc import PairedMoments
from sim.equality import references

# Shrout and Fleiss 1979, table 2, judges 1 and 2 only, and the two-judge analysis of variance
FIRST = np.array([9.0, 6.0, 8.0, 7.0, 10.0, 6.0])
SECOND = np.array([2.0, 1.0, 4.0, 1.0, 5.0, 2.0])


def agreement_of(first: Any, second: Any) -> float:
    return float(references.intraclass(first[:, None], second[:, None])[0][0])


def test_matches_the_definition_over_four_sites(rows: Any, summed: Any) -> None:
    random = np.random.default_rng(0)
    truth = random.normal(size=(60, 25))
    noise = random.uniform(0.05, 1.5, 25)
    first = truth + noise * random.normal(size=truth.shape)
    second = truth + noise * random.normal(size=truth.shape) + random.normal(size=25)
    result = summed(PairedMoments(mean=first.mean(axis=0)), rows(first, paired=second))
    agreement, consistency = references.intraclass(first, second)
    assert result.agreement == pytest.approx(agreement, abs=1e-8)
    assert result.consistency == pytest.approx(consistency, abs=1e-8)
    assert (result.n == 60).all()


def test_does_not_depend_on_the_centre(rows: Any, summed: Any) -> None:
    table = rows(FIRST[:, None], paired=SECOND[:, None])
    expected = np.ravel(references.intraclass(FIRST[:, None], SECOND[:, None]))
    for centre in (0.0, 4.0, 5.5):
        result = summed(PairedMoments(mean=np.array([centre])), table)
        assert result.agreement[0] == pytest.approx(expected[0], abs=1e-8)
        assert result.consistency[0] == pytest.approx(expected[1], abs=1e-8)


def test_centring_keeps_the_digits_of_an_offset_column(rows: Any) -> None:
    random = np.random.default_rng(1)
    truth = random.normal(size=40)
    first, second = truth + 0.1 * random.normal(size=40), truth + 0.1 * random.normal(size=40)
    statistic = PairedMoments(mean=np.array([1e8 + first.mean()]))
    table = rows(first[:, None] + 1e8, paired=second[:, None] + 1e8)
    result = statistic.finalise(statistic.from_rows(table))
    assert result.agreement[0] == pytest.approx(agreement_of(first, second), abs=1e-6)


def test_rows_with_one_reading_are_left_out(rows: Any, summed: Any) -> None:
    random = np.random.default_rng(2)
    first = random.normal(size=(30, 1))
    second = first + 0.2 * random.normal(size=(30, 1))
    gap_first, gap_second = first.copy(), second.copy()
    gap_first[3], gap_second[[3, 10]] = np.nan, np.nan
    result = summed(PairedMoments(mean=np.zeros(1)), rows(gap_first, paired=gap_second))
    keep = np.setdiff1d(np.arange(30), [3, 10])
    assert result.n[0] == 28
    assert result.agreement[0] == pytest.approx(
        agreement_of(first[keep, 0], second[keep, 0]), abs=1e-8
    )


def test_constant_readings_have_coefficient_zero(rows: Any, summed: Any) -> None:
    same = np.full((20, 1), 7.3)
    result = summed(PairedMoments(mean=np.array([7.3])), rows(same, paired=same))
    assert (result.agreement[0], result.consistency[0]) == (0.0, 0.0)


def test_shifted_constants_agree_in_nothing(rows: Any, summed: Any) -> None:
    same = np.full((20, 1), 7.0)
    result = summed(PairedMoments(mean=np.array([7.0])), rows(same, paired=same + 1))
    assert (result.agreement[0], result.consistency[0]) == (0.0, 0.0)


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_patients_give_nan(rows: Any, summed: Any, n: int) -> None:
    values = np.ones((n, 2))
    result = summed(PairedMoments(mean=np.zeros(2)), rows(values, paired=values))
    assert np.isnan(result.agreement).all()
    assert np.isnan(result.consistency).all()


def test_rows_without_second_reading_are_an_error(rows: Any) -> None:
    with pytest.raises(ValueError, match="no second reading"):
        PairedMoments(mean=np.zeros(1)).from_rows(rows(np.zeros((3, 1))))
