from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from common.masking.pooled_rows import permutation, slots

KEY = b"k" * 32
COUNTS = st.dictionaries(st.text(min_size=1, max_size=4), st.integers(0, 40), max_size=5)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=20), COUNTS)
def test_every_place_belongs_to_exactly_one_site(
    key: bytes, context: bytes, counts: dict[str, int]
) -> None:
    dealt = slots(key, context, counts)
    assert {site: places.size for site, places in dealt.items()} == counts
    everything = np.concatenate([np.zeros(0, np.intp), *dealt.values()])
    assert np.array_equal(np.sort(everything), np.arange(sum(counts.values())))
    reordered = dict(reversed(counts.items()))
    again = slots(key, context, reordered)
    assert all(np.array_equal(dealt[site], again[site]) for site in counts)


def test_context_and_key_give_other_places() -> None:
    counts = {"a": 30, "b": 30}
    dealt = [
        slots(KEY, b"one", counts),
        slots(KEY, b"two", counts),
        slots(b"l" * 32, b"one", counts),
    ]
    assert len({tuple(one["a"]) for one in dealt}) == 3


@pytest.mark.parametrize("n", [3, 4])
def test_every_order_is_equally_likely(n: int) -> None:
    draws = 400 * 24
    found = Counter(tuple(permutation(k.to_bytes(32, "big"), n)) for k in range(draws))
    orders = list(permutations(range(n)))
    assert set(found) == set(orders)
    assert stats.chisquare([found[order] for order in orders]).pvalue > 1e-3


def test_no_place_is_closer_to_one_site() -> None:
    share = np.zeros(60)
    for k in range(3000):
        share[slots(KEY, k.to_bytes(4, "big"), {"a": 20, "b": 40})["a"]] += 1
    assert stats.chisquare(share).pvalue > 1e-3


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        slots(KEY, b"", {"a": -1})
