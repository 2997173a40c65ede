from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from common.statistics.base import Rows
from common.statistics.moments import CentredSquares, Magnitudes, Means, Missingness


def test_mean_and_deviation_match_standard_scaler_on_pooled_rows(rows: Any, summed: Any) -> None:
    random = np.random.default_rng(0)
    values = random.lognormal(size=(300, 40)) * random.uniform(0.1, 50, 40) + 20
    table = rows(values)
    mean = summed(Means(), table).mean
    result = summed(CentredSquares(mean=mean), table)
    pooled = StandardScaler().fit(values)
    np.testing.assert_allclose(mean, pooled.mean_, rtol=1e-7)
    np.testing.assert_allclose(result.deviation, np.sqrt(pooled.var_), rtol=1e-9)


def test_deviation_survives_a_large_offset(rows: Any) -> None:
    values = 1e9 + np.random.default_rng(1).normal(size=(200, 3))
    table: Rows = rows(values)
    means = Means()
    mean = means.finalise(means.from_rows(table)).mean
    squares = CentredSquares(mean=mean)
    deviation = squares.finalise(squares.from_rows(table)).deviation
    np.testing.assert_allclose(deviation, values.std(axis=0), rtol=1e-10)


def test_missing_values_are_left_out(rows: Any, summed: Any) -> None:
    random = np.random.default_rng(2)
    values = random.normal(size=(120, 4))
    values[random.random(values.shape) < 0.3] = np.nan
    table = rows(values)
    means = summed(Means(), table)
    deviation = summed(CentredSquares(mean=means.mean), table).deviation
    np.testing.assert_allclose(means.mean, np.nanmean(values, axis=0), atol=1e-6)
    np.testing.assert_allclose(deviation, np.nanstd(values, axis=0), rtol=1e-7)
    assert np.array_equal(means.count, np.isfinite(values).sum(axis=0))


@pytest.mark.parametrize("constant", [0.0, 1.0, -3.7e-9, 0.1, 123456.789, 1e15 / 3])
def test_constant_column_has_deviation_zero(rows: Any, constant: float) -> None:
    table: Rows = rows(np.full((50, 1), constant))
    means = Means()
    mean = means.finalise(means.from_rows(table)).mean
    squares = CentredSquares(mean=mean)
    assert squares.finalise(squares.from_rows(table)).deviation[0] == 0.0


def test_constant_column_stays_constant_in_fixed_point(rows: Any, summed: Any) -> None:
    table = rows(np.full((50, 1), 0.1))
    mean = summed(Means(), table).mean
    assert summed(CentredSquares(mean=mean), table).deviation[0] < 1e-4


def test_column_that_nobody_has_gives_nan(rows: Any, summed: Any) -> None:
    table = rows(np.full((20, 1), np.nan))
    means = summed(Means(), table)
    assert means.count[0] == 0
    assert np.isnan(means.mean[0])
    assert np.isnan(summed(CentredSquares(mean=means.mean), table).deviation[0])


def test_missingness_counts_sites_that_lack_a_column(rows: Any, summed: Any) -> None:
    values = np.ones((100, 3))
    values[:12, 0] = np.nan  # the whole first site
    values[5, 1] = np.nan
    values[:, 2] = np.nan
    result = summed(Missingness(), rows(values))
    assert result.rows == 100
    assert result.present.tolist() == [88, 99, 0]
    assert result.sites_lacking.tolist() == [1, 0, 4]


def test_a_site_without_rows_lacks_no_column(rows: Any, summed: Any) -> None:
    result = summed(Missingness(), rows(np.ones((10, 1))), (0.5, 0.0, 0.0, 0.5))
    assert result.sites_lacking.tolist() == [0]


def test_magnitudes_bring_every_column_below_one(rows: Any, summed: Any) -> None:
    random = np.random.default_rng(3)
    sizes = 10.0 ** np.array([-9, -3, 0, 4, 12, 17])
    values = random.normal(size=(80, 6)) * sizes
    scale = summed(Magnitudes(), rows(values))
    largest = np.abs(values * scale).max(axis=0)
    assert (largest <= 1.0).all()
    assert (largest >= 2.0**-9).all()
    assert np.array_equal(np.log2(scale), np.round(np.log2(scale)))


def test_magnitudes_leave_zeros_and_absent_columns_alone(rows: Any, summed: Any) -> None:
    values = np.column_stack([np.zeros(30), np.full(30, np.nan)])
    assert summed(Magnitudes(), rows(values)).tolist() == [1.0, 1.0]


def test_a_mean_for_other_columns_is_an_error(rows: Any) -> None:
    with pytest.raises(ValueError, match="mean is for 3 columns, the table has 2"):
        CentredSquares(mean=np.zeros(3)).from_rows(rows(np.zeros((4, 2))))
