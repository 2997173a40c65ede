"""Folds: balanced, and no rare level of a clinical column stands alone in one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.data.folds import Quotas, Reserve, deal, opened, quotas
from sim.phantom.clinical import COUNTS, LEVELS

FOLDS, FEWEST = 5, 5


def paper_cohort(seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Labels and levels of the paper's 300 training patients, on the marginals of its Table 1."""
    random = np.random.default_rng(seed)
    # every stretch of patients, such as a hospital, has its share of both classes
    labels = np.diff(np.arange(301) * 124 // 300)
    blocks, names = [], []
    for column, counts in COUNTS["training"].items():
        code = random.permutation(np.repeat(np.arange(len(counts)), counts))
        blocks.append(code[:, None] == np.arange(len(counts)))
        names += [f"{column}={level}" for level in LEVELS[column]]
    return labels, np.hstack(blocks), names


def by_fold(fold: np.ndarray, has: np.ndarray) -> np.ndarray:
    return np.array([has[fold == k].sum(axis=0) for k in range(FOLDS)])


NOBODY = Reserve()
DEFAULT = Reserve(of_class=3, of_both=5)


def dealt(
    labels: np.ndarray, has: np.ndarray, sizes: tuple[int, ...], seed: int, reserve: Reserve
) -> tuple[np.ndarray, np.ndarray]:
    """Fold and hospital of patients (n,) at hospitals of these sizes."""
    everyone = has.sum(axis=0).astype(float)
    fold, site = np.empty(labels.size, dtype=np.int64), np.repeat(np.arange(len(sizes)), sizes)
    for place in range(len(sizes)):
        at = np.flatnonzero(site == place)
        at = at[np.argsort(labels[at], kind="stable")]
        own = has[at].sum(axis=0).astype(float)
        wanted = quotas(own, everyone, len(sizes), FOLDS, FEWEST, seed)
        fold[at] = deal(labels[at], has[at], FOLDS, wanted, reserve)
    return fold, site


def short(counts: np.ndarray, names: list[str]) -> set[str]:
    """Levels that some, but fewer than `FEWEST`, patients of a fold have."""
    few = ((counts > 0) & (counts < FEWEST)).any(axis=0)
    return {name for name, falls in zip(names, few, strict=True) if falls}


@pytest.mark.parametrize(
    ("sizes", "reserve"),
    [
        ((300,), DEFAULT),
        ((100, 100, 100), DEFAULT),
        ((75, 75, 75, 75), DEFAULT),
        ((140, 75, 45, 40), DEFAULT),
        ((150, 80, 50, 20), Reserve(of_class=1, of_both=3)),
    ],
    ids=str,
)
def test_every_level_of_the_papers_cohort_has_enough_patients_or_none_in_a_fold(
    sizes: tuple[int, ...], reserve: Reserve
) -> None:
    for seed in range(20):
        labels, has, names = paper_cohort(seed)
        fold, site = dealt(labels, has, sizes, seed, reserve)
        counts = by_fold(fold, has)
        assert not short(counts, names)
        # a level is open in as many folds as it can fill: cartilage invasion in one, 41 in most
        filled = dict(zip(names, (counts > 0).sum(axis=0).tolist(), strict=True))
        assert filled["space_invasion=yes"] >= 4
        assert filled["cartilage_invasion=yes"] == 1
        for place in range(len(sizes)):
            for label in (0, 1):
                own = np.bincount(fold[(site == place) & (labels == label)], minlength=FOLDS)
                assert own.min() >= reserve.of_class


def test_by_its_own_counts_alone_a_hospital_of_three_leaves_levels_short() -> None:
    found = set()
    for seed in range(5):
        labels, has, names = paper_cohort(seed)
        site, fold = np.repeat(np.arange(3), 100), np.empty(300, dtype=np.int64)
        for place in range(3):
            at = np.flatnonzero(site == place)
            at = at[np.argsort(labels[at], kind="stable")]
            own = has[at].sum(axis=0).astype(float)
            wanted = quotas(own, own, 1, FOLDS, 2, seed)  # a third of five, and a bit
            fold[at] = deal(labels[at], has[at], FOLDS, wanted, DEFAULT)
        found |= short(by_fold(fold, has), names)
    assert {"sex=female", "cartilage_invasion=yes"} <= found


def test_left_to_chance_levels_fall_short() -> None:
    found = set()
    for seed in range(20):
        _, has, names = paper_cohort(seed)
        found |= short(by_fold(np.arange(300) % FOLDS, has), names)
    assert {"space_invasion=yes", "sex=female", "cartilage_invasion=yes"} <= found


@given(
    sites=st.lists(st.integers(0, 80), min_size=1, max_size=8),
    folds=st.integers(2, 8),
    fewest=st.integers(1, 8),
)
def test_floors_of_all_hospitals_fill_every_open_fold(
    sites: list[int], folds: int, fewest: int
) -> None:
    total = float(sum(sites))
    every = [
        quotas(np.array([float(n)]), np.array([total]), len(sites), folds, fewest, seed=3)
        for n in sites
    ]
    floor = np.sum([one.floor[0] for one in every], axis=0)
    if total < fewest:
        assert not floor.any()
        return
    is_open = np.isinf(every[0].ceiling[0])
    assert is_open.sum() == opened(total, len(sites), folds, fewest)
    assert (floor[is_open] >= fewest).all()
    assert not floor[~is_open].any()
    # and no hospital is asked for more than it has
    assert all(one.floor[0].sum() <= n for one, n in zip(every, sites, strict=True))


@settings(deadline=None, max_examples=30)
@given(
    n=st.integers(0, 60),
    rates=st.lists(st.floats(0.02, 0.5), max_size=4),
    folds=st.integers(2, 6),
    fewest=st.integers(2, 6),
    seed=st.integers(0, 99),
)
def test_folds_keep_the_reserve_of_both_classes_whatever_the_levels(
    n: int, rates: list[float], folds: int, fewest: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    labels = np.sort(random.integers(0, 2, n))
    has = random.random((n, len(rates))) < np.array(rates)
    own = has.sum(axis=0).astype(float)
    wanted = quotas(own, own, 1, folds, fewest, seed)
    fold = deal(labels, has, folds, wanted, DEFAULT)
    assert np.array_equal(fold, deal(labels, has, folds, wanted, DEFAULT))
    plain = np.arange(n) % folds
    assert (by(fold, folds) >= np.minimum(by(plain, folds), DEFAULT.of_both)).all()
    most = max(by(plain, folds).max(), n // 4)
    assert by(fold, folds).max() <= most
    for label in (0, 1):
        now, before = by(fold[labels == label], folds), by(plain[labels == label], folds)
        assert (now >= np.minimum(before, DEFAULT.of_class)).all()


def by(fold: np.ndarray, folds: int) -> np.ndarray:
    return np.bincount(fold, minlength=folds)


def test_folds_in_which_no_level_falls_short_stay_as_they_are_dealt() -> None:
    labels = np.zeros(100, dtype=np.int64)
    has = np.zeros((100, 2), dtype=bool)
    has[:50, 0] = has[50:, 1] = True
    wanted = quotas(np.array([50.0, 50.0]), np.array([50.0, 50.0]), 1, FOLDS, FEWEST, 1)
    assert np.array_equal(deal(labels, has, FOLDS, wanted, NOBODY), np.arange(100) % FOLDS)


def test_a_closed_fold_weighs_more_than_an_empty_place_in_an_open_one() -> None:
    wanted = Quotas(floor=np.array([[2.0, 0.0]]), ceiling=np.array([[np.inf, 0.0]]))
    assert wanted.broken(np.array([[2.0, 1.0]])).sum() > wanted.broken(np.array([[0.0, 0.0]])).sum()
