from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.statistics.base import Rows
from common.statistics.site_quartiles import SHARES, SiteQuartiles, rounded_quartiles


def reported(rows: Any, values: Any, decimals: int = -1, fewest: int = 10, minimum: int = 3) -> Any:
    statistic = SiteQuartiles(decimals=np.array([decimals]), fewest=fewest, minimum=minimum)
    column = rows(np.asarray(values, dtype=float)[:, None])
    return statistic.finalise(statistic.from_rows(column)).quartiles[0]


@given(
    values=st.lists(st.floats(-1e9, 1e9), min_size=12, max_size=60),
    decimals=st.sampled_from([-1, 2]),
)
@settings(max_examples=200, deadline=None)
def test_quartiles_are_those_of_numpy_within_a_hundredth_of_their_distance(
    values: list[float], decimals: int
) -> None:
    sample = np.array(values) if decimals < 0 else np.round(np.array(values), decimals)

    def rows(column: Any) -> Rows:
        zeros = np.zeros(len(column))
        return Rows(values=column, columns=("x",), label=zeros, fold=zeros.astype(np.int64))

    found, true = reported(rows, sample, decimals), np.quantile(sample, SHARES)
    if np.isnan(found).all():  # numbers of less than 2^-112 cannot be sent
        assert np.abs(sample[sample != 0]).min() < 1e-15
        return
    bound = 0.01 * (true[2] - true[0]) if decimals < 0 else 0.0
    assert (np.abs(found - true) <= bound * (1 + 1e-9) + 1e-12 * np.abs(true)).all()
    assert (np.diff(found) >= 0).all()
    assert sample.min() <= found[0] and found[2] <= sample.max()


def test_no_more_digits_leave_than_the_table_needs() -> None:
    sample = np.random.default_rng(1).lognormal(3, 1, 80)
    true = np.quantile(sample, SHARES)
    found = rounded_quartiles(true)
    assert not set(found.tolist()) & set(sample.tolist())
    step = 0.1
    assert step <= 0.01 * (true[2] - true[0]) < 10 * step
    assert np.allclose(found / step, np.rint(found / step))


def test_a_value_that_half_of_the_patients_share_is_told_as_it_is() -> None:
    assert rounded_quartiles(np.full(3, 1 / 3)).tolist() == [1 / 3] * 3


@pytest.mark.parametrize(
    ("n", "fewest", "minimum", "shown"),
    [(9, 10, 0, False), (10, 10, 0, True), (11, 10, 3, False), (12, 10, 3, True)],
)
def test_columns_of_few_values_are_withheld(
    rows: Any, n: int, fewest: int, minimum: int, shown: bool
) -> None:
    values = np.append(np.arange(float(n)), [np.nan] * 5)
    assert np.isfinite(reported(rows, values, 0, fewest, minimum)).all() == shown


def test_numbers_too_large_to_be_summed_are_withheld(rows: Any) -> None:
    values = np.append(np.arange(20.0), 1e50)
    assert np.isnan(reported(rows, values)).all()


def test_decimals_of_other_columns_are_an_error(rows: Any) -> None:
    statistic = SiteQuartiles(decimals=np.array([1, 2]), fewest=1, minimum=0)
    with pytest.raises(ValueError, match="2 columns for 1"):
        statistic.from_rows(rows(np.zeros((3, 1))))
