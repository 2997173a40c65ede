from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common.masking.layout import end_to_end, from_rings, sizes, taken_apart, to_rings
from common.statistics.base import Rows
from common.statistics.histogram import Histogram
from common.statistics.moments import Means
from common.statistics.rank_gram import RankGram, first_edges


@pytest.fixture
def table() -> Rows:
    rng = np.random.default_rng(0)
    return Rows(
        values=rng.normal(size=(30, 4)),
        columns=tuple("abcd"),
        label=np.zeros(30),
        fold=np.arange(30, dtype=np.int64) % 5,
    )


def statistics(table: Rows) -> list[Any]:
    histogram = Histogram(edges=first_edges(4, 6))
    counts = histogram.from_rows(table)["counts"]
    return [Means(), histogram, RankGram(edges=histogram.edges, counts=counts)]


def test_what_comes_back_is_within_the_declared_steps(table: Rows) -> None:
    for statistic in statistics(table):
        sums = statistic.from_rows(table)
        rings = to_rings(statistic, sums, 4, 3)
        assert (rings.ring64.size, rings.ring32.size) == sizes(statistic, 4)
        back = from_rings(statistic, rings, 4)
        assert list(back) == list(statistic.shapes(4))
        for part, values in back.items():
            assert (np.abs(values - sums[part]) <= statistic.step[part]).all()


def test_counts_and_ranks_take_half_the_bytes(table: Rows) -> None:
    _, histogram, gram = statistics(table)
    assert sizes(histogram, 4) == (0, 24)
    assert sizes(gram, 4) == (0, 10)
    assert sizes(Means(), 4)[1] == 0


def test_several_statistics_lie_end_to_end(table: Rows) -> None:
    rings = [to_rings(s, s.from_rows(table), 4, 3) for s in statistics(table)]
    both = end_to_end(rings)
    assert both.ring32.size == 34
    assert np.array_equal(both.ring64, rings[0].ring64)
    assert end_to_end([]).ring64.size == 0


def test_vectors_of_another_size_are_refused(table: Rows) -> None:
    rings = to_rings(Means(), Means().from_rows(table), 4, 3)
    with pytest.raises(ValueError, match="not of the size"):
        from_rings(Means(), rings, 5)


def test_what_was_joined_is_taken_apart_again(table: Rows) -> None:
    asked = [(one, table.p) for one in statistics(table)]
    parts = [to_rings(one, one.from_rows(table), table.p, 3) for one, _ in asked]
    whole = end_to_end(parts)
    for found, part in zip(taken_apart(whole, asked), parts, strict=True):
        np.testing.assert_array_equal(found.ring64, part.ring64)
        np.testing.assert_array_equal(found.ring32, part.ring32)
    for other in (replace(whole, ring64=whole.ring64[1:]), end_to_end([whole, parts[0]])):
        with pytest.raises(ValueError, match="another length"):
            taken_apart(other, asked)
