"""Patients behind a pooled Gram matrix: independent component analysis, few rows, many columns.

The matrix X'X of n rows and p > n columns gives X up to a rotation of its rows (X = U S V', of
which S and V follow from the matrix). Where values have heavy tails, only the true rotation makes
single rows stand out, and independent component analysis finds it.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import PowerTransformer

from common.learning.nystroem import gamma_scale, nystroem_map, rbf_kernel, synthetic_landmarks
from common.masking.layout import RingSums, from_rings, to_rings
from common.statistics.base import Rows
from common.statistics.gram import FoldGram
from common.statistics.packing import unpack
from common.transforms import Clip

ROWS, COLUMNS, SITES = 61, 500, 3
LIMIT = 3.0
FOUND = 0.95  # correlation of a recovered row with a patient's


# -- the attack ---------------------------------------------------------------------------------


def rotations(gram: Any, n: int, limit: float) -> list[Any]:
    """Guesses at the rows (n, p) behind X'X; `limit` bounds their values, infinity for none."""
    values, vectors = np.linalg.eigh(gram)
    scale, axes = np.sqrt(values[-n:]), vectors[:, -n:]
    spread = scale[:, None] * axes.T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = FastICA(whiten="unit-variance", random_state=0, max_iter=400).fit_transform(
            spread.T
        )
    # rows that correlate are not independent: only the rotation next to what was found can be true
    first = nearest_rotation(unit(found.T @ axes / scale))
    skewed = climb(first, spread, lambda rows: (rows / rows.std(axis=1, keepdims=True)) ** 2)
    bounded = climb(first, spread, lambda rows: np.clip(rows, -limit, limit))
    return [rotation @ spread for rotation in (first, skewed, bounded)]


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def nearest_rotation(matrix: Any) -> Any:
    left, _, right = np.linalg.svd(matrix)
    return left @ right


def climb(rotation: Any, spread: Any, wanted: Any) -> Any:
    """Turn towards what rows are wanted to be, until nothing moves."""
    for _ in range(200):
        turned = nearest_rotation(wanted(rotation @ spread) @ spread.T)
        moved = np.abs(turned - rotation).max()
        rotation = turned
        if moved < 1e-6:
            break
    return rotation


def correlations(guess: Any, true: Any) -> Any:
    """One-to-one |correlation| of guessed rows with patients (n,), the best assignment."""
    first, second = (unit(x - x.mean(axis=1, keepdims=True)) for x in (guess, true))
    table = np.abs(first @ second.T)
    at = linear_sum_assignment(-table)
    return table[at]


def recovered(values: Any, limit: float = np.inf) -> int:
    """Patients found behind the pooled Gram matrix of these rows, by the best of the guesses."""
    guesses = rotations(pooled_gram(values), len(values), limit)
    return max(int((correlations(guess, values) > FOUND).sum()) for guess in guesses)


def pooled_gram(values: Any) -> Any:
    """As the coordinator has it: summed over sites in fixed point."""
    statistic, p = FoldGram(folds=1), values.shape[1]
    shares = [to_rings(statistic, statistic.from_rows(part), p, SITES) for part in sites_of(values)]
    total = RingSums(sum(s.wide for s in shares), sum(s.narrow for s in shares))
    return unpack(from_rings(statistic, total, p)["gram"][0], p)


def sites_of(values: Any) -> list[Rows]:
    names = tuple(f"x{i}" for i in range(values.shape[1]))
    return [
        Rows(part, names, np.arange(len(part)) % 2.0, np.zeros(len(part), dtype=np.int64))
        for part in np.array_split(values, SITES)
    ]


# -- patients -----------------------------------------------------------------------------------


def patients(tail: str, seed: int, n: int = ROWS, p: int = COLUMNS) -> Any:
    """z-scores of n of 300 patients; three tenths of each column's variance are shared.

    `symmetric`: Student's t with 3 degrees of freedom. `skewed`: lognormal with sigma 1.5, the
    skewness of volumes, energies and many filtered features.
    """
    rng = np.random.default_rng(seed)
    shared = unit(rng.standard_normal((p, 10)))
    normal = np.sqrt(0.3) * rng.standard_normal((300, 10)) @ shared.T
    normal += np.sqrt(0.7) * rng.standard_normal((300, p))
    heavy = {
        "symmetric": lambda z: stats.t.ppf(stats.norm.cdf(z), 3),
        "skewed": lambda z: np.exp(1.5 * z),
    }
    values = heavy[tail](normal)
    return ((values - values.mean(axis=0)) / values.std(axis=0))[:n]


def guarded(values: Any) -> Any:
    """As the product does in guarded mode."""
    rows = Rows(values, ("x",), np.zeros(len(values)), np.zeros(len(values), dtype=np.int64))
    return Clip(limit=LIMIT).apply(rows).values


# -- what it finds ------------------------------------------------------------------------------


def test_the_attack_finds_what_is_there_and_nothing_by_chance() -> None:
    values = patients("skewed", 0)
    turned = stats.ortho_group.rvs(ROWS, random_state=0) @ values
    assert (correlations(turned, values) > FOUND).sum() == 0
    assert (correlations(values[::-1], values) > FOUND).sum() == ROWS


@pytest.mark.parametrize("seed", [0, 1])
def test_plain_values_give_most_patients_away(seed: int) -> None:
    assert recovered(patients("skewed", seed)) > 0.8 * ROWS
    assert recovered(patients("symmetric", seed)) > 0.2 * ROWS


@pytest.mark.parametrize("seed", [0, 1])
def test_limited_values_hide_patients_where_tails_are_symmetric(seed: int) -> None:
    values = patients("symmetric", seed)
    assert recovered(guarded(values), LIMIT) <= 1


@pytest.mark.parametrize("seed", [0, 1])
def test_limited_values_do_not_hide_patients_where_columns_are_skewed(seed: int) -> None:
    """The limit cuts one tail and leaves the other: what remains is far from normal."""
    assert recovered(guarded(patients("skewed", seed)), LIMIT) > 0.8 * ROWS


@pytest.mark.parametrize("seed", [0, 1])
def test_a_power_transform_before_the_limit_hides_them(seed: int) -> None:
    """Yeo and Johnson (2000): columns made symmetric, then limited."""
    values = guarded(PowerTransformer().fit_transform(patients("skewed", seed, n=300))[:ROWS])
    assert recovered(values, LIMIT) <= 1


@pytest.mark.parametrize("seed", [0, 1])
def test_limited_values_hide_patients_behind_few_columns(seed: int) -> None:
    """Each column is one example for the search: twice as many as rows are too few."""
    assert recovered(guarded(patients("skewed", seed, p=2 * ROWS)), LIMIT) <= 1


def ranks(n: int) -> Any:
    """Centred ranks, as `RankGram` has them."""
    return (2.0 * stats.rankdata(patients("skewed", 0, n=n), axis=0) - n - 1.0) / n


def test_ranks_hide_patients_behind_eight_times_as_many_columns() -> None:
    assert recovered(ranks(ROWS), 1.0) <= 1


def test_ranks_do_not_hide_patients_behind_far_more_columns() -> None:
    """Ranks are even, not normal: with 25 columns a row that is enough to search by."""
    assert recovered(ranks(20), 1.0) > 15


def test_kernel_features_hide_patients() -> None:
    """The Gram matrix of the RBF machine: 256 features of a patient's few selected columns."""
    values = guarded(patients("skewed", 0, n=300, p=15))
    statistic = FoldGram(folds=1)
    sums = [statistic.from_rows(rows) for rows in sites_of(values)]
    gram = statistic.finalise({part: sum(s[part] for s in sums) for part in sums[0]}).training()
    landmarks, gamma = synthetic_landmarks(gram, 256, 0, LIMIT), gamma_scale(gram)
    features = rbf_kernel(values, landmarks, gamma) @ nystroem_map(landmarks, gamma, 1e-6)
    assert features.shape[1] > 3 * ROWS
    assert recovered(features[:ROWS]) <= 1
