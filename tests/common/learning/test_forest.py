"""Forests grown from summed bin counts, beside scikit-learn's on the rows themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from common.learning.forest import ForestBatch, ForestProblem
from common.statistics.base import Rows
from common.statistics.forest import NodeCountResult
from common.statistics.histogram import cell_of

EDGES = np.concatenate([[-np.inf], np.arange(1, 20) / 20.0, [np.inf]])


def scores_of(n: int, seed: int, strengths: tuple[float, ...] = (0.8, 1.2, 1.0)) -> Any:
    """Probabilities of models of different strength, and labels."""
    random = np.random.default_rng(seed)
    label = (random.random(n) < 0.4).astype(float)
    decision = np.outer(label - 0.5, strengths) + random.normal(size=(n, len(strengths)))
    return 1.0 / (1.0 + np.exp(-decision)), label


def batch_of(
    problems: list[ForestProblem], p: int, draws: Any = (-1,), depth: int = 4, seed: int = 3
) -> ForestBatch:
    return ForestBatch(np.tile(EDGES, (p, 1)), problems, draws=draws, max_depth=depth, seed=seed)


def grow(batch: ForestBatch, table: Any, summed: Any) -> ForestBatch:
    while not batch.converged:
        batch.update(summed(batch.request(), table))
    return batch


@pytest.fixture
def take() -> Any:
    def taken(table: Any, index: Any) -> Rows:
        return Rows(table.values[index], table.columns, table.label[index], table.fold[index])

    return taken


def predict(batch: ForestBatch, table: Any, problem: int = 0) -> Any:
    return batch.forest(problem, table.columns, "m").apply(table).values[:, 0]


def in_bins(values: Any) -> Any:
    return np.column_stack([cell_of(column, EDGES) for column in values.T])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("n", "depth", "least", "strengths"),
    [(300, 1, 1, (0.8, 1.2, 1.0)), (2000, 4, 20, (0.8, 1.2, 1.0)), (300, 6, 2, (1.0,))],
)
def test_a_plain_tree_is_scikit_learns_on_the_bins(
    rows: Any, summed: Any, seed: int, n: int, depth: int, least: int, strengths: Any
) -> None:
    values, label = scores_of(n, seed, strengths)
    new, _ = scores_of(500, seed + 100, strengths)
    answers = [
        DecisionTreeClassifier(max_depth=depth, min_samples_leaf=least, random_state=state)
        .fit(in_bins(values), label)
        .predict_proba(in_bins(new))[:, 1]
        for state in range(3)
    ]
    assert (np.diff(answers, axis=0) == 0).all(), "data with ties have more than one answer"
    p = len(strengths)
    batch = batch_of([ForestProblem(min_samples_leaf=least, max_features=p)], p, depth=depth)
    grow(batch, rows(values, label), summed)
    assert batch.rounds <= depth
    np.testing.assert_allclose(predict(batch, rows(new)), answers[0], rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_a_forest_tells_as_much_as_scikit_learns(rows: Any, summed: Any, seed: int) -> None:
    values, label = scores_of(400, seed)
    new, truth = scores_of(4000, seed + 100)
    batch = batch_of([ForestProblem(min_samples_leaf=10, max_features=1)], 3, range(100))
    grow(batch, rows(values, label), summed)
    reference = RandomForestClassifier(100, min_samples_leaf=10, max_features=1, random_state=0)
    expected = roc_auc_score(truth, reference.fit(values, label).predict_proba(new)[:, 1])
    assert roc_auc_score(truth, predict(batch, rows(new))) == pytest.approx(expected, abs=0.015)


def test_forests_in_one_message_are_those_grown_alone(rows: Any, summed: Any) -> None:
    values, label = scores_of(200, 1)
    table = rows(values, label)
    problems = [
        ForestProblem(min_samples_leaf=least, max_features=looks, excluded=fold)
        for least in (5, 20)
        for looks in (1, 2)
        for fold in (-1, 3)
    ]
    together = grow(batch_of(problems, 3, range(7)), table, summed)
    for index, problem in enumerate(problems):
        alone = grow(batch_of([problem], 3, range(7)), table, summed)
        np.testing.assert_array_equal(predict(together, table, index), predict(alone, table))


def test_a_forest_without_a_fold_is_the_one_grown_on_the_other_rows(
    rows: Any, summed: Any, take: Any
) -> None:
    values, label = scores_of(200, 2)
    table = rows(values, label)
    without = ForestProblem(min_samples_leaf=5, max_features=2, excluded=1)
    every = ForestProblem(min_samples_leaf=5, max_features=2)
    left_out = grow(batch_of([without], 3, range(7)), table, summed)
    others = grow(batch_of([every], 3, range(7)), take(table, table.fold != 1), summed)
    np.testing.assert_array_equal(predict(left_out, table), predict(others, table))


def test_it_does_not_matter_at_which_site_a_row_lies(rows: Any, summed: Any, take: Any) -> None:
    values, label = scores_of(150, 3)
    fold = np.arange(150) % 5
    problem = ForestProblem(min_samples_leaf=5, max_features=1, excluded=0)
    table = rows(values, label, fold)
    shuffled = take(table, np.random.default_rng(0).permutation(150))
    one = grow(batch_of([problem], 3, range(20)), table, summed)
    other = grow(batch_of([problem], 3, range(20)), shuffled, summed)
    np.testing.assert_array_equal(predict(one, table), predict(other, table))


def test_a_column_that_tells_nothing_is_not_split_on(rows: Any, summed: Any) -> None:
    values, label = scores_of(200, 4)
    values[:, 1] = 0.4
    batch = batch_of([ForestProblem(min_samples_leaf=5, max_features=2)], 3, range(20))
    forest = grow(batch, rows(values, label), summed).forest(0, ("a", "b", "c"), "m")
    assert set(np.unique(forest.feature)) == {-1, 0, 2}


def test_constant_columns_leave_the_share_of_positives(rows: Any, summed: Any) -> None:
    label = np.repeat([0.0, 1.0], [30, 10])
    table = rows(np.full((40, 2), 0.5), label)
    batch = grow(batch_of([ForestProblem(min_samples_leaf=5, max_features=2)], 2), table, summed)
    assert batch.rounds == 1
    np.testing.assert_allclose(predict(batch, table), 0.25)


def test_rows_of_one_class_are_never_split(rows: Any, summed: Any) -> None:
    values, label = scores_of(60, 5)
    fold = np.where(label > 0, 0, 1 + np.arange(60) % 4)  # without fold 0 all are negative
    problem = ForestProblem(min_samples_leaf=2, max_features=2, excluded=0)
    table = rows(values, label, fold)
    batch = grow(batch_of([problem], 3, range(10)), table, summed)
    assert batch.rounds == 1
    assert predict(batch, table).tolist() == [0.0] * 60


def test_too_few_rows_for_two_leaves_are_one_leaf(rows: Any, summed: Any) -> None:
    values, label = scores_of(9, 6)
    batch = batch_of([ForestProblem(min_samples_leaf=5, max_features=3)], 3)
    table = rows(values, label)
    np.testing.assert_allclose(predict(grow(batch, table, summed), table), label.mean())


def test_nobody_at_all_is_a_coin_toss(rows: Any, summed: Any) -> None:
    table = rows(np.zeros((4, 2)), np.zeros(4), np.full(4, -1))
    batch = batch_of([ForestProblem(min_samples_leaf=1, max_features=1)], 2, range(3))
    assert predict(grow(batch, table, summed), table).tolist() == [0.5] * 4


def test_every_leaf_holds_the_rows_asked_for(rows: Any, summed: Any) -> None:
    values, label = scores_of(300, 7)
    table = rows(values, label)
    batch = batch_of([ForestProblem(min_samples_leaf=20, max_features=3)], 3, depth=6)
    answer = predict(grow(batch, table, summed), table)
    assert np.unique(answer, return_counts=True)[1].min() >= 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"draws": ()}, "at least one tree"),
        ({"depth": 0}, "one level"),
        ({"problems": [ForestProblem(min_samples_leaf=0, max_features=1)]}, "at least 1"),
    ],
)
def test_a_forest_that_cannot_grow_is_refused(changes: Any, message: str) -> None:
    settings = {"problems": [ForestProblem(min_samples_leaf=5, max_features=1)], "p": 2, **changes}
    with pytest.raises(ValueError, match=message):
        batch_of(**settings)


def test_another_requests_outcome_is_refused() -> None:
    batch = batch_of([ForestProblem(min_samples_leaf=5, max_features=1)], 2)
    with pytest.raises(ValueError, match="does not belong"):
        batch.update(NodeCountResult(counts=np.zeros((2, 2, 20))))


def test_after_the_last_level_there_is_nothing_to_ask(rows: Any, summed: Any) -> None:
    values, label = scores_of(100, 8)
    batch = batch_of([ForestProblem(min_samples_leaf=1, max_features=3)], 3, depth=2)
    grow(batch, rows(values, label), summed)
    assert batch.rounds == 2
    with pytest.raises(ValueError, match="all forests have grown"):
        batch.request()


@pytest.mark.parametrize("seed", range(3))
def test_a_monotone_forest_never_falls_where_a_model_rises(
    rows: Any, summed: Any, seed: int
) -> None:
    values, label = scores_of(400, seed, strengths=(-1.0, 1.0))  # the first runs against the label
    table = rows(values, label=label)
    grown = ForestBatch(
        np.tile(EDGES, (2, 1)),
        [ForestProblem(min_samples_leaf=5, max_features=1)],
        draws=range(10),
        max_depth=4,
        seed=seed,
        monotone=True,
    )
    grow(grown, table, summed)
    grid = np.linspace(0.0, 1.0, 41)
    for column in (0, 1):
        for other in (0.1, 0.5, 0.9):
            points = np.full((41, 2), other)
            points[:, column] = grid
            assert (np.diff(predict(grown, rows(points))) >= -1e-12).all()
    ends = predict(grown, rows(np.array([[0.5, 0.05], [0.5, 0.95]])))
    assert ends[1] > ends[0] + 0.1
