"""Nobody can work out a withheld count from what is published of its variable and set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from common.evaluation.suppression import suppress
from common.evaluation.table1 import BANDS, TestResult, contingency_test, p_bands

LEVELS = st.lists(st.integers(0, 7), min_size=2, max_size=4)


def shares_of(total: int, cells: int) -> Iterator[tuple[int, ...]]:
    """Yield all ways to spread `total` patients over cells."""
    if cells == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in shares_of(total - first, cells - 1):
            yield (first, *rest)


def columnwise(table: Any) -> TestResult:
    return contingency_test(table.T)


def band_of(counts: Any, hidden: Any, minimum: int) -> tuple[float, float] | None:
    """Return the band of the one test over both sets."""
    (band,) = p_bands(counts, hidden, minimum, columnwise, [(0, 1)])
    return band


def consistent(counts: Any, hidden: Any, minimum: int) -> list[Any]:
    """Return all tables with this total and these published cells that obey the published rule."""
    found = []
    for shares in shares_of(int(counts[hidden].sum()), int(hidden.sum())):
        table = counts.copy()
        table[hidden] = shares
        small = (table[:-1] > 0) & (table[:-1] < minimum)
        if (small & ~hidden[:-1]).any() and not hidden.all():
            continue
        known_rule = small.any() or counts.sum() < minimum
        if known_rule and (hidden.all() or min(shares) > 0):
            found.append(table)
    return found


@given(levels=LEVELS, missing=st.integers(0, 5), minimum=st.integers(2, 5))
@settings(max_examples=300)
def test_every_withheld_cell_has_at_least_two_possible_values(
    levels: list[int], missing: int, minimum: int
) -> None:
    counts = np.array([*levels, missing], dtype=np.float64)
    hidden = suppress(counts, minimum)
    small = np.append((counts[:-1] > 0) & (counts[:-1] < minimum), False)
    assert (hidden | ~small).all()
    assert hidden.any() == small.any() or counts.sum() < minimum
    tables = np.array(consistent(counts, hidden, minimum)) if hidden.any() else counts[None]
    assert (tables == counts).all(axis=1).any()
    for cell in np.flatnonzero(hidden):
        assert np.unique(tables[:, cell]).size >= 2


@given(
    first=st.tuples(st.integers(1, 2), st.integers(3, 12), st.integers(0, 3)),
    second=st.tuples(st.integers(3, 40), st.integers(3, 40), st.just(0)),
)
@settings(max_examples=100)
def test_the_band_of_p_leaves_at_least_two_possible_values(
    first: tuple[int, ...], second: tuple[int, ...]
) -> None:
    counts = np.array([first, second], dtype=np.float64)
    hidden = np.array([suppress(row, 3) for row in counts])
    band = band_of(counts, hidden, 3)
    assume(band is not None)
    assert band is not None
    name, tables = columnwise(counts[:, :-1]).test, []
    for row in consistent(counts[0], hidden[0], 3):
        result = columnwise(np.array([row, counts[1]])[:, :-1])
        if result.test == name and band[0] <= result.p <= band[1]:
            tables.append(row)
    for cell in np.flatnonzero(hidden[0]):
        assert np.unique(np.array(tables)[:, cell]).size >= 2


@given(
    first=st.tuples(st.integers(3, 40), st.integers(3, 40), st.just(0)),
    second=st.tuples(st.integers(1, 2), st.integers(3, 12), st.integers(0, 3)),
    third=st.tuples(st.integers(3, 40), st.integers(3, 40), st.just(0)),
)
@settings(max_examples=60)
def test_the_bands_of_several_tests_together_leave_two_possible_values(
    first: tuple[int, ...], second: tuple[int, ...], third: tuple[int, ...]
) -> None:
    counts = np.array([first, second, third], dtype=np.float64)
    hidden = np.array([suppress(row, 3) for row in counts])
    comparisons = [(0, 1, 2), (0, 1), (1, 2)]
    bands = p_bands(counts, hidden, 3, columnwise, comparisons)
    given_ = {g: b for g, b in zip(comparisons, bands, strict=True) if b is not None}
    assume(given_)
    tables = []
    for row in consistent(counts[1], hidden[1], 3):
        table = np.array([counts[0], row, counts[2]])
        found = {g: columnwise(table[list(g), :-1]) for g in given_}
        names = {g: columnwise(counts[list(g), :-1]).test for g in given_}
        if all(found[g].test == names[g] and b[0] <= found[g].p <= b[1] for g, b in given_.items()):
            tables.append(row)
    for cell in np.flatnonzero(hidden[1]):
        assert np.unique(np.array(tables)[:, cell]).size >= 2


@pytest.mark.parametrize("minimum", [0, 1])
def test_a_reference_withholds_nothing(minimum: int) -> None:
    assert not suppress(np.array([1.0, 2.0, 0.0, 1.0]), minimum).any()


@pytest.mark.parametrize(
    ("counts", "hidden"),
    [
        ([5, 9, 0, 1], [0, 0, 0, 0]),  # one patient without a value is no secret
        ([2, 40, 9, 0], [1, 0, 1, 0]),  # the smaller of the others goes along
        ([2, 1, 40, 0], [1, 1, 0, 0]),  # two gaps of three patients: 1 and 2, or 2 and 1
        ([1, 1, 40, 7], [1, 1, 1, 0]),  # two gaps of two patients would be 1 and 1
        ([1, 40, 3], [1, 1, 0]),  # binary
        ([2, 0, 30], [1, 1, 1]),  # no other level: everything goes
        ([2, 0, 0], [1, 1, 1]),  # a set of two patients
        ([0, 0, 0], [0, 0, 0]),
        ([0, 0, 12], [0, 0, 0]),
    ],
)
def test_which_cells_go(counts: list[int], hidden: list[int]) -> None:
    assert suppress(np.array(counts, dtype=np.float64), 3).tolist() == [bool(h) for h in hidden]


def test_a_band_holds_p_and_a_p_that_is_not_stays_away() -> None:
    counts = np.array([[2.0, 60.0, 0.0], [20.0, 30.0, 0.0]])
    hidden = np.array([suppress(row, 3) for row in counts])
    band = band_of(counts, hidden, 3)
    exact = contingency_test(counts[:, :-1].T).p
    assert band is not None
    assert band[0] <= exact <= band[1]
    assert BANDS.index(band[1]) == BANDS.index(band[0]) + 1
    constant = np.array([[1.0, 8.0, 0.0], [0.0, 0.0, 0.0]])
    gaps = np.array([suppress(row, 3) for row in constant])
    assert band_of(constant, gaps, 3) is None


def test_a_band_that_would_tell_the_count_is_not_given() -> None:
    # 3 of 144 would have p = 0.049, 5 of 144 would not be withheld: the band would tell it is 4
    counts = np.array([[141.0, 4.0, 0.0], [58.0, 5.0, 0.0]])
    hidden = np.array([suppress(row, 5) for row in counts])
    assert hidden.tolist() == [[True, True, False], [False, False, False]]
    assert band_of(counts, hidden, 5) is None
