from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from common.statistics.base import Rows
from common.statistics.moments import CentredSquares, Means, Missingness


def test_mean_and_deviation_match_standard_scaler_on_pooled_rows(rows: Any, summed: Any) -> None:
    random = np.random.default_rng(0)
    values = random.lognormal(size=(300, 40)) * random.uniform(0.1, 50, 40) + 20
    table = rows(values)
    mean = summed(Means(), table).mean
    result = summed(CentredSquares(mean=mean), table)
    pooled = StandardScaler().fit(values)
    np.testing.assert_allclose(mean, pooled.mean_, rtol=1e-14)
    np.testing.assert_allclose(result.deviation, np.sqrt(pooled.var_), rtol=1e-12)


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
    np.testing.assert_allclose(means.mean, np.nanmean(values, axis=0), atol=1e-14)
    np.testing.assert_allclose(deviation, np.nanstd(values, axis=0), rtol=1e-12)
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
    assert summed(CentredSquares(mean=mean), table).deviation[0] == 0.0


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


def test_a_site_that_holds_several_hospitals_counts_each(rows: Any, summed: Any) -> None:
    values = np.ones((30, 2))
    values[:10, 0] = np.nan
    table = dataclasses.replace(rows(values), origin=np.repeat([0, 1, 2], 10))
    assert summed(Missingness(), table, (1.0,)).sites_lacking.tolist() == [1, 0]


def test_a_site_without_rows_lacks_no_column(rows: Any, summed: Any) -> None:
    result = summed(Missingness(), rows(np.ones((10, 1))), (0.5, 0.0, 0.0, 0.5))
    assert result.sites_lacking.tolist() == [0]


def test_any_split_gives_mean_and_deviation_to_the_last_bit(rows: Any, summed: Any) -> None:
    random = np.random.default_rng(3)
    values = random.normal(size=(97, 40)) * 10.0 ** random.integers(-9, 15, 40)
    table = rows(values)
    found = []
    for shares in ((1.0,), (0.12, 0.38, 0.3, 0.2), (0.5, 0.0, 0.5)):
        mean = summed(Means(), table, shares).mean
        found.append((mean, summed(CentredSquares(mean=mean), table, shares).deviation))
    for mean, deviation in found[1:]:
        assert np.array_equal(mean, found[0][0])
        assert np.array_equal(deviation, found[0][1])
    pooled = StandardScaler().fit(values)
    np.testing.assert_allclose(found[0][1], np.sqrt(pooled.var_), rtol=1e-12)


def test_values_too_large_to_be_summed_are_an_error(rows: Any) -> None:
    with pytest.raises(ValueError, match="too large to be summed"):
        Means().from_rows(rows(np.full((3, 1), 1e300)))


def test_a_mean_for_other_columns_is_an_error(rows: Any) -> None:
    with pytest.raises(ValueError, match="mean is for 3 columns, the table has 2"):
        CentredSquares(mean=np.zeros(3)).from_rows(rows(np.zeros((4, 2))))
