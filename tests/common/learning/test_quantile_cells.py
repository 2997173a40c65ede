"""Cells that find quartiles, against numpy and scipy on the rows themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from common.evaluation.table1 import rank_test
from common.learning.quantile_cells import (
    ERROR,
    LARGEST_SHARE,
    MOST_CELLS,
    ROUNDS,
    Tally,
    doubt,
    empty_tally,
    first_grid,
    quartiles_of,
    refined_edges,
    roundest,
    single_value,
    tolerance,
    unsorted_cells,
)
from common.statistics.histogram import cell_counts

SHARES = [0.25, 0.5, 0.75]


def counted(
    samples: Sequence[Any], decimals: int | None = None, *, ranks: bool = False
) -> tuple[Tally, int]:
    """Ask these samples until nothing is left to ask; and the number of rounds."""
    tally = empty_tally(len(samples), decimals)
    for number in range(ROUNDS):
        edges = refined_edges(tally, range(len(samples)), ranks)
        if edges is None:
            return tally, number
        assert edges.size - 1 <= MOST_CELLS
        assert (np.diff(edges) > 0).all()
        tally = tally.with_counts(edges, np.array([cell_counts(one, edges) for one in samples]))
    return tally, ROUNDS


def check(tally: Tally, index: int, sample: Any, decimals: int | None = None) -> int:
    """Check published numbers against bound and data; return how many there are."""
    found = quartiles_of(tally, index)
    allowed = tolerance(found, decimals)
    true = np.quantile(sample, SHARES)
    bound = max(0.0 if decimals is None else 10.0**-decimals, ERROR * (true[2] - true[0]))
    reported = [
        (own, value) for own, value in zip(found, true, strict=True) if own.error <= allowed
    ]
    for own, value in reported:
        assert abs(own.value - value) <= own.error * (1 + 1e-9) + 1e-12 * abs(value)
        assert abs(own.value - value) <= bound + 1e-12 * abs(value)
        assert sample.min() <= own.value <= sample.max()
    return len(reported)


@given(values=st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=60))
@settings(max_examples=150, deadline=None)
def test_every_number_that_is_reported_is_within_the_bound(values: list[float]) -> None:
    sample = np.array(values)
    tally, _ = counted([sample])
    check(tally, 0, sample)


@given(
    values=st.lists(st.integers(-(10**7), 10**7), min_size=1, max_size=60),
    decimals=st.integers(0, 4),
)
@settings(max_examples=150, deadline=None)
def test_recorded_values_are_always_told(values: list[int], decimals: int) -> None:
    sample = np.array(values) / 10**decimals
    tally, _ = counted([sample], decimals)
    assert check(tally, 0, sample, decimals) == 3


@given(
    seed=st.integers(0, 10**6),
    sigma=st.floats(0.01, 4.0),
    scale=st.floats(1e-6, 1e6),
    zeros=st.floats(0.0, 0.9),
    limit=st.floats(0.0, 2.0),
    n=st.integers(12, 400),
)
@settings(max_examples=150, deadline=None)
def test_skewed_columns_with_zeros_and_limits_are_told(
    seed: int, sigma: float, scale: float, zeros: float, limit: float, n: int
) -> None:
    rng = np.random.default_rng(seed)
    values = scale * np.maximum(rng.lognormal(0, sigma, n), limit)
    sample = np.where(rng.random(n) < zeros, 0.0, values)
    tally, _ = counted([sample])
    assert check(tally, 0, sample) == 3


@given(seed=st.integers(0, 10**6), sites=st.integers(3, 6), n=st.integers(20, 200))
@settings(max_examples=50, deadline=None)
def test_edges_and_quartiles_do_not_depend_on_who_holds_the_rows(
    seed: int, sites: int, n: int
) -> None:
    rng = np.random.default_rng(seed)
    values, home = rng.lognormal(0, 2, n), rng.integers(0, sites, n)
    whole, dealt = empty_tally(1, None), empty_tally(1, None)
    while (edges := refined_edges(whole, [0], ranks=True)) is not None:
        assert np.array_equal(edges, refined_edges(dealt, [0], ranks=True))
        parts = [cell_counts(values[home == site], edges) for site in range(sites)]
        whole = whole.with_counts(edges, cell_counts(values, edges)[None, :])
        dealt = dealt.with_counts(edges, np.sum(parts, axis=0)[None, :])
    assert quartiles_of(whole, 0) == quartiles_of(dealt, 0)


@pytest.mark.parametrize("power", [-300, -80, 0, 60, 300])
def test_a_column_may_have_any_scale(power: int) -> None:
    sample = math.ldexp(1.0, power) * np.random.default_rng(1).lognormal(0, 1, 120)
    tally, rounds = counted([sample])
    assert check(tally, 0, sample) == 3
    assert rounds <= 5


def test_a_column_scaled_by_a_power_of_two_has_its_edges_scaled() -> None:
    sample = np.random.default_rng(2).lognormal(0, 1.5, 150)
    one, _ = counted([sample])
    other, _ = counted([8.0 * sample])
    for a, b in zip(quartiles_of(one, 0), quartiles_of(other, 0), strict=True):
        assert 8.0 * a.value == pytest.approx(b.value, rel=0.01)


@pytest.mark.parametrize("value", [0.0, 4.2, 1 / 3, -0.1, 1e9 + 1 / 3, 5e-300])
def test_a_value_that_all_share_is_found_to_the_last_digit(value: float) -> None:
    tally, _ = counted([np.full(30, value)], ranks=True)
    assert [own.value for own in quartiles_of(tally, 0)] == [value] * 3
    assert not unsorted_cells(tally.bounds, tally.counts, None).any()


@pytest.mark.parametrize("limit", [0.5, 5.0, 1 / 3])
def test_half_of_the_rows_at_a_limit_are_found_to_be_a_tie(limit: float) -> None:
    rng = np.random.default_rng(3)
    samples = [np.maximum(rng.lognormal(math.log(limit) + s, 1, 130), limit) for s in (0.0, 0.4)]
    tally, _ = counted(samples, ranks=True)
    expected = stats.mannwhitneyu(*samples, method="asymptotic").pvalue
    assert rank_test(tally.counts).p == pytest.approx(expected, abs=0.01)
    heaviest = int(np.argmax(tally.counts.sum(axis=0)))
    assert tally.single(heaviest) == limit


@pytest.mark.parametrize("seed", range(6))
def test_no_cell_but_a_tie_holds_a_large_share_and_p_is_close(seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = [rng.lognormal(0.3 * s, 2.2, n) for s, n in ((0, 150), (1, 60), (2, 41))]
    tally, _ = counted(samples, ranks=True)
    pooled = tally.counts.sum(axis=0)
    unsorted = unsorted_cells(tally.bounds, tally.counts, None)
    assert pooled[unsorted].max() <= LARGEST_SHARE * pooled.sum()
    assert doubt(tally.counts, unsorted) < 0.03
    found = stats.chi2.isf(rank_test(tally.counts).p, 2)
    assert found == pytest.approx(stats.kruskal(*samples).statistic, abs=0.25)


def test_recorded_values_within_reach_have_exact_ranks() -> None:
    rng = np.random.default_rng(4)
    samples = [np.round(rng.gamma(2, 3 + s, n), 1) for s, n in ((0, 90), (1, 40))]
    samples[0][0] = 1e6  # one absurd value has a rank like any other
    tally, rounds = counted(samples, 1, ranks=True)
    assert rounds == 2
    assert not unsorted_cells(tally.bounds, tally.counts, 1).any()
    expected = stats.mannwhitneyu(*samples, method="asymptotic")
    assert rank_test(tally.counts).p == pytest.approx(expected.pvalue, rel=1e-12)
    for index, sample in enumerate(samples):
        found = [own.value for own in quartiles_of(tally, index)]
        assert found == pytest.approx(np.quantile(sample, SHARES), rel=1e-12)


def test_doubt_is_the_deviation_of_z_when_order_is_left_to_chance() -> None:
    rng = np.random.default_rng(5)
    counts = np.array([[6.0, 9, 4, 11], [3, 5, 8, 4]])
    everything = np.ones(4, dtype=bool)
    n = counts.sum()
    drawn = []
    for _ in range(4000):
        rank_sum, below = 0.0, 0.0
        for first, second in counts.T:
            ranks = below + 1 + rng.permutation(int(first + second))
            rank_sum += ranks[: int(first)].sum()
            below += first + second
        drawn.append(rank_sum)
    size = counts.sum(axis=1)
    whole = math.sqrt(size[0] * size[1] * (n + 1) / 12)
    assert doubt(counts, everything) == pytest.approx(np.std(drawn) / whole, rel=0.05)
    assert doubt(counts, ~everything) == 0.0
    assert doubt(np.array([[50.0, 0], [0, 50]]), np.ones(2, dtype=bool)) == 0.0


def test_nobody_has_no_quartiles() -> None:
    tally, rounds = counted([np.zeros(0)], ranks=True)
    assert rounds == 1
    assert all(math.isnan(own.value) for own in quartiles_of(tally, 0))


def test_the_first_edges_are_powers_of_two_and_zero_has_a_cell() -> None:
    edges = first_grid()
    inner = edges[1:-1]
    mantissa, _ = np.frexp(np.abs(inner[inner != 0.0]))
    assert set(mantissa.tolist()) == {0.5}
    zero = int(np.searchsorted(edges[1:-1], 0.0, side="right"))
    assert single_value(float(edges[zero]), float(edges[zero + 1]), None) == 0.0


@given(
    low=st.floats(-1e300, 1e300).filter(lambda x: x != 0.0),
    width=st.floats(1e-15, 10.0),
)
@settings(max_examples=200, deadline=None)
def test_the_roundest_number_of_a_cell_lies_in_it(low: float, width: float) -> None:
    high = low + abs(low) * width
    if low < high and math.isfinite(high):
        found = roundest(low, high)
        assert low <= found < high
        # no other number of the cell ends earlier
        exponents = [Decimal(repr(x)).normalize().as_tuple().exponent for x in (found, low)]
        assert int(exponents[0]) >= int(exponents[1]) or found in (0.0, low)
