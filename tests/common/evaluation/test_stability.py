from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from common.evaluation.stability import stability

# Z3 of the authors' own demonstration (github.com/nogueirs/JMLR2018, python/stabilityDemo), with
# what their program printed of it
RANDOM = [
    *("1111000000", "0001011100", "0100011100", "1100101000", "0110110000"),
    *("0111001000", "1001000011", "0001011100", "0011110000", "0000100111"),
]
RANDOM_INDEX, RANDOM_VARIANCE = -0.037037037037, 0.00516666666667


def sets(rows: list[str]) -> list[set[str]]:
    return [{f"f{i}" for i, digit in enumerate(row) if digit == "1"} for row in rows]


def test_the_authors_example_gives_their_index_and_variance() -> None:
    found = stability(sets(RANDOM), 10)
    assert found is not None
    assert found.index == pytest.approx(RANDOM_INDEX, abs=1e-12)
    reach = norm.ppf(0.975) * np.sqrt(RANDOM_VARIANCE)
    assert found.high - found.index == pytest.approx(reach, rel=1e-11)
    assert found.index - found.low == pytest.approx(reach, rel=1e-11)


def test_the_authors_small_examples_give_their_indices() -> None:
    same, apart = ["110", "110", "110"], ["110", "011", "101"]
    for rows, index in ((same, 1.0), (apart, -0.5)):
        found = stability(sets(rows), 3)
        assert found is not None and found.index == pytest.approx(index, abs=1e-12)


def test_where_all_keep_the_same_number_the_index_is_kunchevas() -> None:
    # Kuncheva 2007: mean over pairs of (r d - k^2) / (k (d - k))
    rows = [set(map(str, np.random.default_rng(s).permutation(12)[:4])) for s in range(5)]
    pairs = [(a, b) for i, a in enumerate(rows) for b in rows[:i]]
    kuncheva = np.mean([(len(a & b) * 12 - 16) / (4 * 8) for a, b in pairs])
    found = stability(rows, 12)
    assert found is not None and found.index == pytest.approx(kuncheva, abs=1e-12)


def test_without_a_choice_there_is_no_index() -> None:
    assert stability([], 5) is None
    assert stability([{"a"}], 5) is None
    assert stability([set(), set()], 5) is None
    assert stability([{"a", "b"}] * 3, 2) is None
    with pytest.raises(ValueError, match="2 features kept of 1"):
        stability([{"a"}, {"b"}], 1)


@given(
    st.lists(st.sets(st.sampled_from("abcdefgh"), max_size=7), min_size=2, max_size=7),
    st.permutations("abcdefgh"),
    st.integers(min_value=9, max_value=40),
)
def test_neither_order_nor_names_matter_and_the_index_stays_in_range(
    selections: list[set[str]], names: list[str], candidates: int
) -> None:
    found = stability(selections, candidates)
    if found is None:
        assert not any(selections)
        return
    renamed = [{names["abcdefgh".index(name)] for name in one} for one in selections]
    again = stability(renamed[::-1], candidates)
    assert again is not None and again.index == pytest.approx(found.index, abs=1e-12)
    assert -1 / (len(selections) - 1) - 1e-12 <= found.index <= 1 + 1e-12
    assert (found.index > 1 - 1e-12) == all(one == selections[0] for one in selections)
    assert found.low - 1e-12 <= found.index <= found.high + 1e-12
