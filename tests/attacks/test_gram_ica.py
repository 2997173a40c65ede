"""Patients behind a pooled Gram matrix: independent component analysis, few rows, many columns.

The matrix X'X of n rows and p > n columns gives X up to a rotation of its rows (X = U S V', of
which S and V follow from the matrix). Where values have heavy tails, only the true rotation makes
single rows stand out, and independent component analysis finds it. The search is the one that every
run's audit makes (`common.evaluation.decoders`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from common.evaluation.decoders import FOUND, component_guesses, correlations, unit
from common.learning.normal_scores import knots_of, score_grid
from common.learning.nystroem import gamma_scale, nystroem_map, rbf_kernel, synthetic_landmarks
from common.masking.layout import RingSums, from_rings, to_rings
from common.statistics.base import Rows
from common.statistics.exact import unpack
from common.statistics.fold_histogram import Support
from common.statistics.gram import FoldGram
from common.statistics.histogram import Histogram, HistogramResult
from common.statistics.rank_gram import first_edges, merge_cells, ranks_tell, refine_edges
from common.transforms import Clip, NormalScores, Select
from common.transforms.views import table
from server.phases.rank_cells import Counted, untied
from tests import builders

PATIENTS, ROWS, COLUMNS, SITES = 300, 61, 500, 3
LIMIT = 3.0


# -- the attack ---------------------------------------------------------------------------------


def recovered(values: Any, limit: float = np.inf) -> int:
    """Patients found behind the pooled Gram matrix of these rows, by the best of the guesses."""
    guesses = component_guesses(pooled_gram(values), len(values), limit)
    return max(int((correlations(guess, values) > FOUND).sum()) for guess in guesses)


def pooled_gram(values: Any) -> Any:
    """As the coordinator has it: summed over sites in fixed point."""
    statistic, p = FoldGram(folds=1), values.shape[1]
    shares = [to_rings(statistic, statistic.from_rows(part), p, SITES) for part in sites_of(values)]
    total = RingSums(sum(s.ring64 for s in shares), sum(s.ring32 for s in shares))
    return unpack(from_rings(statistic, total, p)["gram"][0], p)


def sites_of(values: Any) -> list[Rows]:
    names = tuple(f"x{i}" for i in range(values.shape[1]))
    return [
        Rows(part, names, np.arange(len(part)) % 2.0, np.zeros(len(part), dtype=np.int64))
        for part in np.array_split(values, SITES)
    ]


# -- patients -----------------------------------------------------------------------------------


def patients(tail: str, seed: int, n: int = PATIENTS, p: int = COLUMNS) -> Any:
    """z-scores (n, p); three tenths of each column's variance are shared.

    `symmetric`: Student's t with 3 degrees of freedom. `skewed`: lognormal with sigma 1.5, the
    skewness of volumes, energies and many filtered features. `rectified`: zero for more than half
    of the patients, as units of a network may be. `outlying`: ten lognormal factors behind all
    columns, so that some patients are extreme in nearly everything.
    """
    rng = np.random.default_rng(seed)
    loadings = unit(rng.standard_normal((p, 10)))
    factors = rng.standard_normal((n, 10))
    own = rng.standard_normal((n, p))
    normal = np.sqrt(0.3) * factors @ loadings.T + np.sqrt(0.7) * own
    shapes = {
        "symmetric": lambda: stats.t.ppf(stats.norm.cdf(normal), 3),
        "skewed": lambda: np.exp(1.5 * normal),
        "rectified": lambda: np.maximum(normal - 0.2, 0.0),
        "outlying": lambda: np.exp(factors) @ np.abs(loadings).T + 0.5 * np.exp(own),
    }
    values = shapes[tail]()
    return (values - values.mean(axis=0)) / values.std(axis=0)


def rows_of(values: Any) -> Rows:
    names = tuple(f"x{i}" for i in range(values.shape[1]))
    return Rows(values, names, np.zeros(len(values)), np.zeros(len(values), dtype=np.int64))


def limited(values: Any) -> Any:
    """z-scores cut at the limit, and no more: what guards a few clinical columns."""
    return Clip(limit=LIMIT).apply(rows_of(values)).values


def refined(values: Any, refinements: int = 1) -> HistogramResult:
    """Counts of all patients, as the product asks for them."""
    rows, edges = rows_of(values), first_edges(values.shape[1], 64)
    for _ in range(1 + refinements):
        asked = Histogram(edges=edges)
        found = asked.finalise(asked.from_rows(rows))
        edges = refine_edges(found, 64)
    return found


def scored(values: Any) -> Any:
    """As the product does in guarded mode: normal scores by the counts of all patients."""
    rows, found = rows_of(values), refined(values)
    knots = knots_of(merge_cells(found), LIMIT)
    return NormalScores(rows.columns, knots, score_grid(LIMIT)).apply(rows).values


# -- what it finds ------------------------------------------------------------------------------


def test_the_attack_finds_what_is_there_and_nothing_by_chance() -> None:
    values = patients("skewed", 0)[:ROWS]
    turned = stats.ortho_group.rvs(ROWS, random_state=0) @ values
    assert (correlations(turned, values) > FOUND).sum() == 0
    assert (correlations(values[::-1], values) > FOUND).sum() == ROWS


@pytest.mark.parametrize("seed", [0, 1])
def test_plain_values_give_most_patients_away(seed: int) -> None:
    assert recovered(patients("skewed", seed)[:ROWS]) > 0.8 * ROWS
    assert recovered(patients("symmetric", seed)[:ROWS]) > 0.2 * ROWS


@pytest.mark.parametrize("seed", [0, 1])
def test_limited_values_alone_do_not_hide_patients_where_columns_are_skewed(seed: int) -> None:
    """The limit cuts one tail and leaves the other: what remains is far from normal."""
    assert recovered(limited(patients("skewed", seed))[:ROWS], LIMIT) > 0.8 * ROWS


@pytest.mark.parametrize("tail", ["skewed", "symmetric"])
@pytest.mark.parametrize("seed", [0, 1])
def test_guarded_mode_hides_the_patients_of_a_fold(seed: int, tail: str) -> None:
    assert recovered(scored(patients(tail, seed))[:ROWS], LIMIT) == 0


def test_scores_do_not_hide_patients_where_columns_have_one_value_for_many() -> None:
    """No monotone step parts ties, so the product leaves such columns out: see the next test."""
    assert recovered(scored(patients("rectified", 0))[:ROWS], LIMIT) > 20


def test_columns_with_one_value_for_many_are_left_out() -> None:
    study = builders.study()
    tied, skewed = patients("rectified", 0), patients("skewed", 0)
    names = tuple(f"x{i}" for i in range(COLUMNS))
    nothing = Support(low=np.zeros(COLUMNS), high=np.ones(COLUMNS), apart=np.ones((5, COLUMNS)))
    for values, left in ((tied, 0), (skewed, COLUMNS)):
        view = table("radiomics").then(Select(columns=names))
        kept, dropped = untied(study, Counted(view, nothing, refined(values)), refined(values, 2))
        assert (len(kept.names), len(dropped)) == (left, COLUMNS - left)


@pytest.mark.parametrize("tail", ["skewed", "symmetric"])
def test_guarded_mode_hides_the_patients_of_a_cohort_of_thirty(tail: str) -> None:
    assert recovered(scored(patients(tail, 0, n=30)), LIMIT) == 0


def test_guarded_mode_does_not_hide_a_cohort_of_eighteen() -> None:
    """Three cells of five or more patients are too few to know a column's shape by."""
    assert recovered(scored(patients("skewed", 0, n=18)), LIMIT) > 10


@pytest.mark.parametrize("seed", [0, 1])
def test_guarded_mode_hides_nearly_all_patients_who_are_extreme_in_everything(seed: int) -> None:
    values = patients("outlying", seed)
    assert recovered(values[:ROWS]) > 0
    assert recovered(scored(values)[:ROWS], LIMIT) <= 0.05 * ROWS


@pytest.mark.parametrize(("rows", "columns"), [(20, 20), (ROWS, ROWS), (ROWS, 2 * ROWS)])
def test_limited_values_hide_patients_behind_few_columns(rows: int, columns: int) -> None:
    """Each column is one example for the search: as many as rows are too few."""
    assert recovered(limited(patients("skewed", 0, p=columns))[:rows], LIMIT) <= 2


def ranks(n: int, p: int) -> Any:
    """Centred ranks, as `RankGram` has them."""
    return (2.0 * stats.rankdata(patients("skewed", 0, n=n, p=p), axis=0) - n - 1.0) / n


def test_ranks_that_a_hospital_gives_hide_patients() -> None:
    assert not ranks_tell(120, COLUMNS)
    assert recovered(ranks(120, COLUMNS), 1.0) == 0


def test_ranks_of_few_patients_would_tell_and_their_normal_scores_do_not() -> None:
    """Ranks are even, not normal: with many columns a row that is enough to search by."""
    few = ranks(20, COLUMNS)
    assert ranks_tell(20, COLUMNS)
    assert recovered(few, 1.0) > 15
    assert recovered(stats.norm.ppf((few + 1.0) / 2.0), LIMIT) == 0


def test_kernel_features_hide_patients() -> None:
    """The Gram matrix of the RBF machine: 256 features of a patient's few selected columns."""
    values = limited(patients("skewed", 0, p=15))
    statistic = FoldGram(folds=1)
    sums = [statistic.from_rows(rows) for rows in sites_of(values)]
    gram = statistic.finalise({part: sum(s[part] for s in sums) for part in sums[0]}).training()
    landmarks, gamma = synthetic_landmarks(gram, 256, 0, LIMIT), gamma_scale(gram)
    features = rbf_kernel(values, landmarks, gamma) @ nystroem_map(landmarks, gamma, 1e-6)
    assert features.shape[1] > 3 * ROWS
    assert recovered(features[:ROWS]) <= 1
