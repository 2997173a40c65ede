from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.learning.descent import Problem
from common.learning.svm import SvmBatch
from common.statistics.gram import FoldGram
from sim.equality import references

COSTS = (0.001, 0.01, 0.1, 1.0)


def example(kind: str, n: int, p: int, seed: int = 0) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(seed)
    values = random.normal(size=(n, max(p // 4, 1))) @ random.normal(size=(max(p // 4, 1), p))
    values = 0.7 * values + random.normal(size=(n, p))
    if kind == "twins":
        values[:, 1::2] = values[:, 0::2]
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    weights = random.normal(size=p) * (random.random(p) < 0.4)
    noise = 0.0 if kind == "separable" else 1.0
    logit = values @ weights / max(np.linalg.norm(weights), 1e-9) + noise * random.normal(size=n)
    return values, (logit > 0.3).astype(float), random.permutation(n) % 5


def solve(table: Any, summed: Any, problems: list[Problem], rounds: int) -> SvmBatch:
    batch = SvmBatch(summed(FoldGram(folds=5), table), problems)
    while not batch.converged and batch.rounds < rounds:
        batch.update(summed(batch.request(), table))
    return batch


@pytest.mark.parametrize(
    ("kind", "n", "p", "rounds"),
    [
        ("plain", 300, 10, 25),
        ("plain", 300, 30, 25),
        ("twins", 300, 30, 25),
        ("separable", 300, 20, 60),
        ("plain", 60, 5, 25),
    ],
)
def test_every_problem_of_a_batch_matches_linear_svc(
    rows: Any, summed: Any, kind: str, n: int, p: int, rounds: int
) -> None:
    values, label, fold = example(kind, n, p)
    problems = [
        Problem(cost=cost, excluded=excluded, validation=excluded[0] if excluded else -1)
        for cost in COSTS
        for excluded in ((), (0,), (3,), (2, 4))
    ]
    batch = solve(rows(values, label, fold), summed, problems, rounds)
    assert batch.converged
    for weights, problem in zip(batch.weights, problems, strict=True):
        keep = ~np.isin(fold, problem.excluded)
        expected = references.machine(values[keep], label[keep], problem.cost)
        np.testing.assert_allclose(weights, expected, atol=2e-6)


def test_more_columns_than_rows_match_linear_svc(rows: Any, summed: Any) -> None:
    values, label, fold = example("plain", 60, 120)
    problems = [Problem(cost=cost) for cost in (0.001, 0.01)]
    batch = solve(rows(values, label, fold), summed, problems, 60)
    assert batch.converged
    for weights, problem in zip(batch.weights, problems, strict=True):
        np.testing.assert_allclose(
            weights, references.machine(values, label, problem.cost), atol=2e-6
        )


def test_residual_bounds_the_distance_to_the_minimum_before_convergence(
    rows: Any, summed: Any
) -> None:
    values, label, fold = example("separable", 100, 60)
    batch = solve(rows(values, label, fold), summed, [Problem(cost=1.0)], 15)
    distance = np.linalg.norm(batch.weights[0] - references.machine(values, label, 1.0))
    assert not batch.converged
    assert distance <= batch.residuals[0]


def test_a_mask_leaves_columns_out(rows: Any, summed: Any) -> None:
    values, label, fold = example("plain", 150, 8)
    mask = np.array([1, 0, 1, 1, 0, 0, 1, 0], dtype=bool)
    problems = [Problem(cost=0.1, mask=mask), Problem(cost=0.1)]
    batch = solve(rows(values, label, fold), summed, problems, 60)
    expected = references.machine(values[:, mask], label, 0.1)
    np.testing.assert_allclose(batch.weights[0][np.append(mask, True)], expected, atol=2e-6)
    assert not batch.weights[0][:-1][~mask].any()
    np.testing.assert_allclose(batch.weights[1], references.machine(values, label, 0.1), atol=2e-6)


def test_validation_loss_is_that_of_the_final_weights(rows: Any, summed: Any) -> None:
    values, label, fold = example("plain", 150, 8)
    problem = Problem(cost=0.1, excluded=(2,), validation=2)
    batch = solve(rows(values, label, fold), summed, [problem], 60)
    weights = references.machine(values[fold != 2], label[fold != 2], 0.1)
    margin = (2 * label - 1) * (values @ weights[:-1] + weights[-1])
    expected = (np.maximum(0, 1 - margin[fold == 2]) ** 2).sum()
    assert batch.validation_loss[0] == pytest.approx(expected, abs=1e-4)
    assert batch.validation_count[0] == (fold == 2).sum()


def test_converged_problems_are_asked_for_no_longer(rows: Any, summed: Any) -> None:
    values, label, fold = example("plain", 150, 8)
    table = rows(values, label, fold)
    batch = SvmBatch(summed(FoldGram(folds=5), table), [Problem(cost=1.0), Problem(cost=1e-6)])
    sizes = []
    while not batch.converged and batch.rounds < 60:
        question = batch.request()
        sizes.append(question.weights.shape[0])
        batch.update(summed(question, table))
    assert sizes[0] == 2
    assert sizes[-1] == 1
    with pytest.raises(ValueError, match="all problems have converged"):
        batch.request()


def test_one_class_converges(rows: Any, summed: Any) -> None:
    values, _, fold = example("plain", 50, 4)
    table = rows(values, np.ones(50), fold)
    batch = solve(table, summed, [Problem(cost=1.0)], 60)
    assert batch.converged
    assert (values @ batch.weights[0, :-1] + batch.weights[0, -1]).mean() > 0.9


def test_wrong_costs_masks_and_outcomes_are_errors(rows: Any, summed: Any) -> None:
    values, label, fold = example("plain", 50, 4)
    table = rows(values, label, fold)
    gram = summed(FoldGram(folds=5), table)
    with pytest.raises(ValueError, match="cost 0"):
        SvmBatch(gram, [Problem(cost=0.0)])
    with pytest.raises(ValueError, match="mask"):
        SvmBatch(gram, [Problem(cost=1.0, mask=np.ones(3, dtype=bool))])
    one, two = (SvmBatch(gram, [Problem(cost=1.0)] * k) for k in (1, 2))
    with pytest.raises(ValueError, match="does not belong"):
        two.update(summed(one.request(), table))
