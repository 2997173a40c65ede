"""Folds: balanced, and no rare level of a clinical column stands alone in one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.data.folds import deal
from sim.phantom.clinical import COUNTS, LEVELS

FOLDS, FEWEST = 5, 5


def paper_cohort(seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Labels and levels of the paper's 300 training patients, on the marginals of its Table 1."""
    random = np.random.default_rng(seed)
    labels = np.sort((np.arange(300) < 124).astype(np.int64))
    blocks, names = [], []
    for column, counts in COUNTS["training"].items():
        code = random.permutation(np.repeat(np.arange(len(counts)), counts))
        blocks.append(code[:, None] == np.arange(len(counts)))
        names += [f"{column}={level}" for level in LEVELS[column]]
    return labels, np.hstack(blocks), names


def by_fold(fold: np.ndarray, has: np.ndarray) -> np.ndarray:
    return np.array([has[fold == k].sum(axis=0) for k in range(FOLDS)])


@pytest.mark.parametrize("seed", range(20))
def test_every_level_of_the_papers_cohort_has_enough_patients_or_none_in_a_fold(seed: int) -> None:
    labels, has, names = paper_cohort(seed)
    counts = by_fold(deal(labels, has, FOLDS, FEWEST, seed), has)
    short = {name for name, own in zip(names, counts.T, strict=True) if (own[own > 0] < 5).any()}
    assert not short
    # a level goes into as many folds as it can fill: cartilage invasion into one, 41 into all
    filled = dict(zip(names, (counts > 0).sum(axis=0).tolist(), strict=True))
    assert filled["space_invasion=yes"] == 5
    assert (filled["t_stage=T4"], filled["sex=female"], filled["cartilage_invasion=yes"]) == (
        4,
        2,
        1,
    )


def test_left_to_chance_levels_fall_short() -> None:
    found = []
    for seed in range(20):
        labels, has, names = paper_cohort(seed)
        counts = by_fold(deal(labels, has, FOLDS, 0, seed), has)
        found.append(counts[:, names.index("space_invasion=yes")].min())
    assert min(found) < FEWEST


@settings(deadline=None, max_examples=30)
@given(
    n=st.integers(0, 60),
    rates=st.lists(st.floats(0.02, 0.5), max_size=4),
    folds=st.integers(2, 6),
    fewest=st.integers(0, 6),
    seed=st.integers(0, 99),
)
def test_classes_stay_balanced_whatever_the_levels(
    n: int, rates: list[float], folds: int, fewest: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    labels = np.sort(random.integers(0, 2, n))
    has = random.random((n, len(rates))) < np.array(rates)
    fold = deal(labels, has, folds, fewest, seed)
    assert np.array_equal(fold, deal(labels, has, folds, fewest, seed))
    plain = np.arange(n) % folds
    for label in (0, 1):
        own, dealt = fold[labels == label], plain[labels == label]
        assert np.array_equal(
            np.bincount(own, minlength=folds), np.bincount(dealt, minlength=folds)
        )


def test_folds_in_which_no_level_falls_short_stay_as_they_are_dealt() -> None:
    labels = np.zeros(100, dtype=np.int64)
    has = np.zeros((100, 2), dtype=bool)
    has[:50, 0] = has[50:, 1] = True
    assert np.array_equal(deal(labels, has, FOLDS, FEWEST, 1), np.arange(100) % FOLDS)
