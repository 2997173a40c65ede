from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.masking.pairwise import mask_context, mask_vector
from common.masking.pooled_rows import from_slots, ring_size, slots, to_slots
from tests.common.masking.test_pairwise import keys_of

COUNTS = st.dictionaries(st.sampled_from("abcde"), st.integers(0, 9), min_size=3)


def rows_of(n: int, columns: int, seed: int, decimals: int) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    return random.integers(0, 10**decimals + 1, (n, columns)), random.integers(0, 2, n).astype(
        float
    )


@given(COUNTS, st.integers(1, 4), st.integers(1, 4), st.binary(min_size=32, max_size=32))
def test_the_masked_sum_holds_every_row_of_every_site_once(
    counts: dict[str, int], columns: int, decimals: int, key: bytes
) -> None:
    total, dealt = sum(counts.values()), slots(key, b"", counts)
    context = mask_context("run", "rows", "", "ring32", tuple(counts))
    summed = np.zeros(ring_size(total, columns), dtype=np.uint32)
    wanted = []
    for seed, (site, n) in enumerate(counts.items()):
        cells, labels = rows_of(n, columns, seed, decimals)
        own = to_slots(cells, labels, dealt[site], total, decimals)
        summed += mask_vector(own, keys_of(site, counts), site, context)
        wanted += [(*p, y) for p, y in zip(cells / 10**decimals, labels, strict=True)]
    probabilities, labels = from_slots(summed, columns, decimals)
    assert sorted(map(tuple, np.column_stack([probabilities, labels]))) == sorted(wanted)


def test_a_place_taken_twice_or_by_nobody_is_noticed() -> None:
    cells, labels = rows_of(2, 3, 0, 2)
    one = to_slots(cells, labels, np.array([0, 1]), 4, 2)
    from_slots(one + to_slots(cells, labels, np.array([3, 2]), 4, 2), 3, 2)
    for places in ([1, 2], [0, 1]):
        with pytest.raises(ValueError, match="no row, or several"):
            from_slots(one + to_slots(cells, labels, np.array(places), 4, 2), 3, 2)
    with pytest.raises(ValueError, match="no row, or several"):
        from_slots(one, 3, 2)


@pytest.mark.parametrize("place", [1, 2])
def test_a_number_that_is_no_probability_or_label_is_noticed(place: int) -> None:
    ring = to_slots(np.full((1, 1), 100), np.ones(1), np.array([0]), 1, 2)
    from_slots(ring, 1, 2)
    ring[place] += 1
    with pytest.raises(ValueError, match="no probability or label"):
        from_slots(ring, 1, 2)


@pytest.mark.parametrize(
    ("cell", "label", "places", "total"),
    [
        (101, 1.0, [0, 1], 3),
        (-1, 1.0, [0, 1], 3),
        (50, 2.0, [0, 1], 3),
        (50, 1.0, [1, 1], 3),
        (50, 1.0, [0, 3], 3),
        (50, 1.0, [-1, 0], 3),
        (50, 1.0, [0], 3),
    ],
)
def test_what_is_no_row_takes_no_place(
    cell: int, label: float, places: list[int], total: int
) -> None:
    with pytest.raises(ValueError, match=r"row|place"):
        to_slots(np.full((2, 1), cell), np.full(2, label), np.array(places), total, 2)
