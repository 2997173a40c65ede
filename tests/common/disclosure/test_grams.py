from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.disclosure.grams import bounded, plain_columns
from common.learning.normal_scores import score_grid
from common.statistics.fold_histogram import Support
from common.statistics.gram import CrossProducts, FoldGram
from common.statistics.rank_gram import RankGram
from common.statistics.svm import SvmGradient
from common.statistics.within_batches import WithinBatches
from common.study.model import PrivacySettings
from common.transforms import (
    Clip,
    KernelMap,
    NormalScores,
    Project,
    Select,
    Sigmoid,
    Standardise,
)
from common.transforms.views import Joined, View, table

RAW = table("clinical")
ONE = np.ones(1)
SCALED = RAW.then(Standardise(columns=("c0",), mean=0 * ONE, scale=ONE))
SELECT = Select(columns=("c0",))
KERNEL = KernelMap(
    columns=("c0",), landmarks=np.ones((1, 1)), gamma=1.0, projection=np.ones((1, 1)), names=("k",)
)


def support(apart: Any, low: float = 0.0, high: float = 1.0) -> Support:
    return Support(low=np.array([low]), high=np.array([high]), apart=np.asarray(apart)[:, None])


def with_support(given: Support | None) -> list[Any]:
    edges, counts = np.array([[-np.inf, 0.0, np.inf]]), np.array([[40.0, 60.0]])
    return [
        FoldGram(folds=5, support=given),
        CrossProducts(mean=0 * ONE, support=given),
        RankGram(edges=edges, counts=counts, support=given),
    ]


def flagged(rows: Any, ones: int = 20) -> Any:
    """Forty rows, eight a fold, the first `ones` of them apart from the cell [0, 1)."""
    return rows((np.arange(40) < ones).astype(float)[:, None] * 1.5)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_without_counts_of_rows_apart_there_is_no_gram(rows: Any, asked: Any, which: int) -> None:
    missing = with_support(None)[which]
    assert asked(missing, flagged(rows)) == [("support", 5)]
    of_another_size = support([9.0, 9.0])
    assert asked(with_support(of_another_size)[which], flagged(rows)) == [("support", 5)]


@pytest.mark.parametrize(
    ("apart", "expected"), [([5, 5, 5, 5, 5], []), ([9, 9, 4, 9, 9], [("support", 5)])]
)
def test_every_fold_of_a_fold_gram_has_rows_apart(
    rows: Any, asked: Any, apart: Any, expected: Any
) -> None:
    assert asked(FoldGram(folds=5, support=support(apart)), flagged(rows)) == expected


@pytest.mark.parametrize("which", [1, 2])
@pytest.mark.parametrize(
    ("apart", "expected"), [([2, 0, 2, 1, 0], []), ([2, 0, 1, 1, 0], [("support", 5)])]
)
def test_a_gram_over_all_rows_counts_all_folds_together(
    rows: Any, asked: Any, which: int, apart: Any, expected: Any
) -> None:
    few = flagged(rows, 0)
    assert asked(with_support(support(apart))[which], few) == expected


@pytest.mark.parametrize("which", [0, 1, 2])
def test_counts_that_leave_out_own_rows_are_refused(rows: Any, asked: Any, which: int) -> None:
    # forty rows, 25 apart: five in every fold
    claimed = with_support(support(np.full(5, 5.0)))[which]
    assert asked(claimed, flagged(rows, 25)) == []
    assert asked(claimed, flagged(rows, 26)) == [("support", 5)]


def test_a_site_may_ask_for_more_rows_apart_and_a_study_for_none(rows: Any, asked: Any) -> None:
    strict, off = PrivacySettings(min_category=7), PrivacySettings(min_category=0)
    gram = FoldGram(folds=5, support=support(np.full(5, 6.0)))
    assert asked(gram, flagged(rows), privacy=strict) == [("support", 7)]
    assert asked(FoldGram(folds=5), flagged(rows), privacy=off) == []


def test_a_fold_gram_has_enough_of_each_class_in_each_fold(rows: Any, asked: Any) -> None:
    gram = FoldGram(folds=5, support=support(np.full(5, 9.0)))
    values = np.zeros((40, 1))
    assert asked(gram, rows(values, 15)) == []
    assert asked(gram, rows(values, 14)) == [("fold_class", 3)]


def normal_scores(p: int, limit: float = 3.0) -> NormalScores:
    ends = score_grid(limit)
    columns = tuple(f"c{i}" for i in range(p))
    return NormalScores(columns=columns, knots=np.tile(ends, (p, 1)), scores=ends)


def test_values_count_as_bounded_only_behind_the_clipping() -> None:
    clip = Clip(limit=3.0)
    bound = normal_scores(1)
    assert bounded(SCALED.then(clip), 3.0)
    assert bounded(SCALED.then(bound), 3.0)
    assert bounded(SCALED.then(clip).restrict(("c0",)).then(KERNEL), 3.0)
    assert bounded(View(source=Joined(parts=(SCALED.then(clip), RAW.then(bound)))), 3.0)
    assert not bounded(RAW, 3.0)
    assert not bounded(SCALED, 3.0)
    assert not bounded(SCALED.then(KERNEL), 3.0)
    assert not bounded(SCALED.then(Clip(limit=3.1)), 3.0)
    assert not bounded(SCALED.then(normal_scores(1, limit=3.1)), 3.0)
    assert not bounded(SCALED.then(clip, Sigmoid(a=-1.0, b=0.0)), 3.0)
    assert not bounded(View(source=Joined(parts=(SCALED.then(clip), SCALED))), 3.0)
    assert not bounded(View(source=Joined(parts=())), 3.0)


def test_unbounded_columns_are_refused_unless_both_agree(rows: Any, asked: Any) -> None:
    weights = np.zeros((1, 2))
    gradient = SvmGradient(
        weights=weights, excluded=np.zeros((1, 5)), validation=np.array([-1], dtype=np.int64)
    )
    fold_gram, products, _ = with_support(support(np.full(5, 9.0)))
    faithful = PrivacySettings(mode="faithful")
    for statistic in (fold_gram, products, gradient):
        assert asked(statistic, flagged(rows), view=SCALED) == [("bounded", 0)]
        assert asked(statistic, flagged(rows), view=SCALED, privacy=faithful) == []


def rank_gram(counts: Any) -> RankGram:
    edges = np.array([[-np.inf, 1.0, np.inf]])
    return RankGram(edges=edges, counts=np.array([counts]), support=support(np.full(5, 9.0)))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((60.0, 25.0), []),
        ((60.0, 20.0), []),  # nobody else in the second cell
        ((60.0, 23.0), []),
        ((60.0, 22.0), [("rank_others", 3)]),
        ((60.0, 21.0), [("rank_others", 3)]),
        ((21.0, 60.0), [("rank_others", 3)]),
        ((20.0, 60.0), []),
        ((60.0, 0.0), []),
    ],
)
def test_cells_of_ranks_leave_none_or_enough_rows_of_others(
    rows: Any, asked: Any, counts: Any, expected: Any
) -> None:
    # twenty own rows in either cell
    own = flagged(rows) if counts[1] else flagged(rows, 0)
    assert asked(rank_gram(counts), own) == expected


def test_cells_of_ranks_hold_enough_rows(rows: Any, asked: Any) -> None:
    none = flagged(rows, 0)
    assert asked(rank_gram((60.0, 5.0)), none) == []
    assert asked(rank_gram((60.0, 4.0)), none) == [("rank_cells", 5)]
    tight = PrivacySettings(min_rank_cell=6)
    assert asked(rank_gram((60.0, 5.0)), none, privacy=tight) == [("rank_cells", 6)]


def test_ranks_of_one_site_alone_have_no_others(rows: Any, asked: Any, study: Any) -> None:
    alone = study().model_copy(update={"sites": study().sites[:1]})
    assert asked(rank_gram((20.0, 21.0)), flagged(rows), study=alone) == []


@pytest.mark.parametrize("which", [0, 1, 2])
def test_nothing_is_fitted_on_test_patients(rows: Any, asked: Any, which: int) -> None:
    statistic = with_support(support(np.full(5, 9.0)))[which]
    assert asked(statistic, flagged(rows), "spread") == [("subset", 0)]


def many(p: int, *, plain: int) -> View:
    """p clipped columns, the last `plain` of them not normal scores."""
    names = tuple(f"c{i}" for i in range(p))
    scored = table("radiomics").then(Select(columns=names[: p - plain]), normal_scores(p - plain))
    other = table("clinical").then(Select(columns=names[p - plain :]))
    return View(source=Joined(parts=(scored, other))).then(Clip(limit=3.0))


def wide(p: int, apart: float = 9.0) -> Support:
    return Support(low=np.zeros(p), high=np.ones(p), apart=np.full((5, p), apart))


def test_columns_are_plain_unless_they_are_normal_scores_or_made_of_them() -> None:
    assert plain_columns(SCALED.then(Clip(limit=3.0))) == {"c0"}
    scored = SCALED.then(normal_scores(1))
    again = Standardise(columns=("c0",), mean=0 * ONE, scale=ONE)
    assert plain_columns(scored.then(again, Clip(limit=3.0))) == set()
    assert plain_columns(scored.then(Sigmoid(a=-1.0, b=0.0))) == {"c0"}
    component = Project(columns=("c0",), mean=0 * ONE, axes=np.ones((1, 1)), names=("pc",))
    assert plain_columns(scored.then(component)) == set()
    assert plain_columns(SCALED.then(component)) == {"pc"}
    assert plain_columns(many(40, plain=3)) == {"c37", "c38", "c39"}
    assert plain_columns(many(40, plain=3).restrict(("c1", "c38"))) == {"c38"}


@pytest.mark.parametrize("which", ["fold_gram", "gram"])
def test_many_plain_columns_for_few_rows_are_refused_in_guarded_mode(
    rows: Any, asked: Any, which: str
) -> None:
    p = 200
    gram = FoldGram(folds=5, support=wide(p))
    if which == "gram":
        gram = CrossProducts(mean=np.zeros(p), support=wide(p))
    # nine rows apart in every fold, forty-five over all
    fewest = 21 if which == "fold_gram" else 46
    values = np.random.default_rng(0).normal(size=(40, p))
    assert asked(gram, rows(values), view=many(p, plain=fewest - 1)) == []
    assert asked(gram, rows(values), view=many(p, plain=fewest)) == [("scored", 20)]
    tight = PrivacySettings(max_plain_columns=0)
    assert asked(gram, rows(values), view=many(p, plain=0), privacy=tight) == []
    faithful = PrivacySettings(mode="faithful")
    assert asked(gram, rows(values), view=many(p, plain=p - 1), privacy=faithful) == []


def test_rows_that_the_counts_prove_allow_more_plain_columns(rows: Any, asked: Any) -> None:
    gram = FoldGram(folds=5, support=wide(200, apart=60.0))
    values = np.random.default_rng(0).normal(size=(40, 200))
    assert asked(gram, rows(values), view=many(200, plain=60)) == []
    assert asked(gram, rows(values), view=many(200, plain=61)) == [("scored", 20)]


def test_columns_with_one_value_for_most_of_the_rows_count_as_plain(rows: Any, asked: Any) -> None:
    values = np.random.default_rng(0).normal(size=(40, 200))
    values[:20, :21] = 0.0
    gram = FoldGram(folds=5, support=wide(200))
    assert asked(gram, rows(values), view=many(200, plain=0)) == []
    values[20, :20] = 0.0
    assert asked(gram, rows(values), view=many(200, plain=0)) == []
    values[20, 20] = 0.0
    assert asked(gram, rows(values), view=many(200, plain=0)) == [("scored", 20)]


@pytest.mark.parametrize(
    ("everyone", "p", "normal", "expected"),
    [
        (119.0, 239, False, [("ranks", 120)]),
        (119.0, 239, True, []),
        (119.0, 238, False, []),
        (120.0, 300, False, []),
    ],
)
def test_ranks_of_few_rows_in_many_columns_are_refused(
    rows: Any, asked: Any, everyone: float, p: int, normal: bool, expected: Any
) -> None:
    gram = RankGram(
        edges=np.tile([[-np.inf, np.inf]], (p, 1)),
        counts=np.full((p, 1), everyone),
        support=wide(p),
        normal=normal,
    )
    assert asked(gram, rows(np.zeros((40, p)))) == expected
    faithful = PrivacySettings(mode="faithful")
    assert asked(gram, rows(np.zeros((40, p))), privacy=faithful) == []


WITHIN = table("radiomics").then(Select(columns=("c0",)))
LIMITED = View(source=Joined(parts=(WITHIN, SCALED.then(Clip(limit=3.0)))))


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (LIMITED, []),
        (View(source=Joined(parts=(WITHIN, SCALED))), [("bounded", 0)]),
        (View(source=Joined(parts=(SCALED.then(Clip(limit=3.0)), WITHIN))), [("bounded", 0)]),
        (SCALED.then(Clip(limit=3.0)), [("bounded", 0)]),
    ],
    ids=["limited covariates", "any covariates", "covariates first", "no table beside"],
)
def test_products_within_hospitals_need_limited_covariates_beside_the_features(
    rows: Any, asked: Any, view: View, expected: Any
) -> None:
    own = rows(np.hstack([np.full((40, 1), 1e9), flagged(rows).values]))
    statistic = WithinBatches(covariates=1, support=support([8.0] * 5))
    assert asked(statistic, own, view=view) == expected


def test_products_within_hospitals_need_counts_of_their_covariates_alone(
    rows: Any, asked: Any
) -> None:
    one_apart = np.zeros((40, 1))
    one_apart[0] = 1.0
    assert asked(WithinBatches(), rows(one_apart), view=WITHIN) == []
    own = rows(np.hstack([one_apart, flagged(rows).values]))
    enough = WithinBatches(covariates=1, support=support([8.0] * 5))
    assert asked(enough, own, view=LIMITED) == []
    few = WithinBatches(covariates=1, support=support([1.0] * 4 + [0.0]))
    assert asked(few, own, view=LIMITED) == [("support", 5)]
