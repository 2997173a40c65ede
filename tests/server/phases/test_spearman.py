from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.phases.spearman import greedy_filter
from sim.equality import references


@given(p=st.integers(0, 12), seed=st.integers(0, 500), threshold=st.sampled_from([0.2, 0.5, 0.9]))
@settings(max_examples=60)
def test_matches_the_rule_word_by_word(p: int, seed: int, threshold: float) -> None:
    random = np.random.default_rng(seed)
    raw = np.round(random.uniform(-1, 1, (p, p)), 1)
    correlation = np.triu(raw, 1) + np.triu(raw, 1).T + np.eye(p)
    names = [f"f{i}" for i in random.permutation(p)]
    kept = [names[index] for index in greedy_filter(correlation, names, threshold)]
    assert kept == references.forward_filter(correlation, names, threshold)


def test_no_pair_above_the_threshold_is_left_at_full_size() -> None:
    random = np.random.default_rng(0)
    p = 1834
    blocks = random.normal(size=(100, 200))
    values = blocks[:, np.arange(p) % 200] + 0.3 * random.normal(size=(100, p))
    correlation = np.corrcoef(values.T)
    kept = greedy_filter(correlation, [f"f{i:04d}" for i in range(p)], 0.9)
    left = np.abs(correlation[np.ix_(kept, kept)]) - np.eye(kept.size)
    assert left.max() <= 0.9
    assert 200 <= kept.size < p


def test_of_two_twins_the_later_in_table_order_stays() -> None:
    assert greedy_filter(np.ones((2, 2)), ["b", "a"], 0.9).tolist() == [1]


def test_a_pair_at_the_threshold_is_not_redundant() -> None:
    correlation = np.array([[1.0, -0.9], [-0.9, 1.0]])
    assert greedy_filter(correlation, ["a", "b"], 0.9).tolist() == [0, 1]


def test_ties_are_broken_by_name_not_by_position() -> None:
    # a chain 0 - 1 - 2: columns 0 and 1 both have one later neighbour
    correlation = np.eye(3)
    correlation[0, 1] = correlation[1, 0] = correlation[1, 2] = correlation[2, 1] = 1.0
    # "a" is column 0: it goes, then column 1 still has a neighbour and goes
    assert greedy_filter(correlation, ["a", "b", "c"], 0.9).tolist() == [2]
    # "a" is column 1: it goes, and nothing is redundant any more
    assert greedy_filter(correlation, ["b", "a", "c"], 0.9).tolist() == [0, 2]


def test_names_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(ValueError, match="for 1 names"):
        greedy_filter(np.eye(2), ["a"], 0.9)
