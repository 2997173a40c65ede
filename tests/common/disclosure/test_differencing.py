"""A few sites' own numbers that follow from several sums, however many it takes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.disclosure.differencing import few_told, told_together
from common.masking import FEWEST

FANO = ("abc", "ade", "afg", "bdf", "beg", "cdg", "cef")
SITES = "abcdefg"


def test_seven_sums_of_which_no_pair_tells_anything_give_every_site() -> None:
    assert all(len(set(one) ^ set(other)) > 2 for one, other in combinations(FANO, 2))
    found = told_together({f"t{i}": one for i, one in enumerate(FANO)})
    assert found is not None
    assert len(found[1]) < 3


def test_the_sums_that_tell_together_are_named_and_no_others() -> None:
    # abcdef = abc + def + g
    sums = {"all": "abcdefg", "one": "abc", "other": "def", "apart": "xyz", "again": "abc"}
    assert told_together(sums) == (("all", "other", "again"), ("g",))


@pytest.mark.parametrize(
    "sums",
    [
        (),
        ("abc",),
        ("abc", "abc"),
        ("abc", "def"),
        ("abc", "abcdef"),
        ("abc", "def", "abcdef"),
        FANO[:3],
        ("abcdef", "abc", "defghi"),
    ],
)
def test_equal_and_disjoint_sums_tell_of_nobody(sums: tuple[str, ...]) -> None:
    assert few_told(sums) == ()


@pytest.mark.parametrize(
    ("sums", "sites"),
    [
        (("abc", "abcd"), ("d",)),
        (("abcd", "abce"), ("d", "e")),
        (("abcd", "ab"), ("a", "b")),
        (("abcdef", "abc", "def", "g" + "abcdef"), ("g",)),
    ],
)
def test_sites_that_are_told_of_are_found(sums: tuple[str, ...], sites: tuple[str, ...]) -> None:
    found = few_told(sums)
    assert found
    if len(sums) == 2:
        assert found == sites


@given(st.lists(st.sets(st.sampled_from(SITES), min_size=3).map(frozenset), max_size=5))
def test_a_combination_of_few_sites_is_found_wherever_floating_point_finds_one(
    sums: list[frozenset[str]],
) -> None:
    matrix = np.array([[float(s in one) for s in SITES] for one in sums]).reshape(-1, len(SITES))
    whole = np.linalg.matrix_rank(matrix) if sums else 0
    reported = any(
        np.linalg.matrix_rank(np.delete(matrix, few, axis=1)) < whole
        for few in combinations(range(len(SITES)), 2)
        if sums
    )
    assert bool(few_told(sums)) == reported


def test_many_sites_and_sums_are_looked_at_in_no_time() -> None:
    rng = np.random.default_rng(3)
    sums = [[f"s{i}" for i in np.flatnonzero(rng.random(60) < 0.5)] for _ in range(20)]
    assert few_told(sums) == ()


def test_masks_take_three_sites_as_the_search_has_it() -> None:
    assert FEWEST == 3
