from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.statistics.base import Rows, Sums, add
from common.statistics.within_batches import WithinBatches, WithinBatchesResult

COLUMNS = ("a", "b", "c", "age", "sex")
STATISTIC = WithinBatches(covariates=2)


def rows(rng: np.random.Generator, n: int, batch: int = 1) -> Rows:
    values = np.hstack([rng.normal(3, 2, (n, 3)), rng.normal(60, 9, (n, 1)), rng.random((n, 1))])
    codes = None if batch < 2 else rng.integers(0, batch, n)
    return Rows(values, COLUMNS, np.zeros(n), np.zeros(n, dtype=np.int64), batch=codes)


def total(*parts: Sums) -> WithinBatchesResult:
    found = parts[0]
    for part in parts[1:]:
        found = add(found, part)
    return STATISTIC.finalise(found)


@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_it_equals_least_squares_with_a_column_for_each_batch(seed: int, scanners: int) -> None:
    rng = np.random.default_rng(seed)
    sites = [rows(rng, int(n), scanners) for n in rng.integers(8, 20, 3)]
    found = total(*(STATISTIC.from_rows(one) for one in sites))
    stacked = np.vstack([one.values for one in sites])
    codes = [np.zeros(one.n, dtype=int) if one.batch is None else one.batch for one in sites]
    batch = np.concatenate([number * 10 + own for number, own in enumerate(codes)])
    dummies = (batch[:, None] == np.unique(batch)).astype(float)
    within = stacked - dummies @ np.linalg.lstsq(dummies, stacked, rcond=None)[0]
    np.testing.assert_allclose(found.mean, stacked.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.squares, np.square(within[:, :3]).sum(axis=0), rtol=1e-9)
    np.testing.assert_allclose(found.cross, within[:, 3:].T @ within[:, :3], atol=1e-7)
    np.testing.assert_allclose(found.products, within[:, 3:].T @ within[:, 3:], atol=1e-7)


@given(st.integers(0, 2**32 - 1), st.floats(-50, 50))
def test_a_hospitals_own_level_is_in_the_sum_over_all_rows_and_nowhere_else(
    seed: int, shift: float
) -> None:
    rng = np.random.default_rng(seed)
    first, second = rows(rng, 12), rows(rng, 15)
    moved = dataclasses.replace(second, values=second.values + shift)
    before = total(STATISTIC.from_rows(first), STATISTIC.from_rows(second))
    after = total(STATISTIC.from_rows(first), STATISTIC.from_rows(moved))
    np.testing.assert_allclose(after.mean - before.mean, shift * 15 / 27, atol=1e-9)
    for name in ("squares", "cross", "products"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), atol=1e-8)


def test_a_patient_alone_on_a_scanner_adds_to_the_sum_alone() -> None:
    rng = np.random.default_rng(5)
    one = rows(rng, 9)
    alone = dataclasses.replace(one, batch=np.array([0] * 8 + [1]))
    eight = one.at(np.arange(8))
    found, fewer = STATISTIC.from_rows(alone), STATISTIC.from_rows(eight)
    for name in ("squares", "cross", "products"):
        np.testing.assert_array_equal(found[name], fewer[name])
    assert (found["total"] != fewer["total"]).any()


def test_missing_values_and_more_covariates_than_columns_are_refused() -> None:
    rng = np.random.default_rng(6)
    gap = rows(rng, 9)
    gap.values[2, 3] = np.nan
    with pytest.raises(ValueError, match="age has missing values"):
        STATISTIC.from_rows(gap)
    with pytest.raises(ValueError, match="6 covariates among 5 columns"):
        WithinBatches(covariates=6).from_rows(rows(rng, 9))
    with pytest.raises(ValueError, match="no site has rows"):
        total(STATISTIC.from_rows(rows(rng, 9).at(np.arange(0))))
