"""Attack (s), continued: outcomes of a small test set at one hospital, whose scores are all known.

Whoever knows the scores of all patients of the set tries every way to deal the outcomes, and keeps
those that give all the numbers that the hospital publishes.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.special import expit

import common.evaluation.local as local
from common.evaluation.local import Evaluation, evaluate_locally
from common.messages.validation import to_json
from common.statistics.base import Float, Rows
from common.statistics.class_histogram import FIXED, QUANTILES, score_edges

PATIENTS, POSITIVES, SMALLEST = 10, 5, 3
EVERY_WAY = [list(one) for one in itertools.combinations(range(PATIENTS), POSITIVES)]


def dealt(positives: list[int]) -> Float:
    label = np.zeros(PATIENTS)
    label[positives] = 1.0
    return label


def evaluations(seed: int) -> tuple[list[Evaluation], int]:
    """Return what is found of every way to deal the outcomes, and which way is the true one."""
    random = np.random.default_rng(seed)
    training = random.beta(2, 3, 200)
    scores = random.beta(2, 3, PATIENTS)
    chance = scores**1.5 / (scores**1.5).sum()
    true = np.sort(random.choice(PATIENTS, POSITIVES, replace=False, p=chance)).tolist()
    quantiles = np.quantile(training, QUANTILES)
    edges = np.unique(np.concatenate([[0.0], quantiles, FIXED, [1.0]]))[None]
    cutoffs = np.array([np.quantile(training, 0.6)])
    nowhere = np.zeros(PATIENTS, dtype=np.int64)
    ways = [Rows(scores[:, None], ("model",), dealt(one), nowhere) for one in EVERY_WAY]
    found = [evaluate_locally(rows, cutoffs, edges, SMALLEST) for rows in ways]
    return found, EVERY_WAY.index(true)


as_published = cache(evaluations)


def known_outcomes(
    evaluated: tuple[list[Evaluation], int], told: Callable[[Evaluation], Any]
) -> int:
    """Count the patients whose outcome is the same in every way that fits what is published."""
    found, true = evaluated
    published = [json.dumps(to_json(told(one))) for one in found]
    fits = [one == published[true] for one in published]
    fitting = np.array([dealt(one) for one in itertools.compress(EVERY_WAY, fits)])
    return int(((fitting == 0).all(axis=0) | (fitting == 1).all(axis=0)).sum())


def brier_and_recalibration(found: Evaluation) -> tuple[Any, ...]:
    return found.brier, found.smooth


def areas_and_counts(found: Evaluation) -> tuple[Any, ...]:
    return found.delong, found.histogram, found.confusion, found.decision


def test_all_measures_together_tell_what_areas_and_counts_do() -> None:
    for found in map(as_published, range(4)):
        assert known_outcomes(found, lambda one: one) == known_outcomes(found, areas_and_counts)


def test_areas_and_counts_tell_a_few_outcomes() -> None:
    """The area is about all ranks at once; the dossier says so."""
    assert sum(known_outcomes(as_published(seed), areas_and_counts) for seed in range(4)) == 1


def test_all_digits_would_tell_more_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "without_late_digits", lambda found: found)
    assert known_outcomes(evaluations(0), lambda one: one) == 8
    assert known_outcomes(evaluations(2), brier_and_recalibration) == 4


def equations_of(scores: Float, cutoff: float, found: Evaluation, model: int) -> list[Any]:
    """Return what area and counts of a model say: weights of the outcomes, and their bounds."""
    n, positives = found.delong.n, found.delong.positives
    rank = np.argsort(np.argsort(scores))
    group = np.minimum(rank // SMALLEST, n // SMALLEST - 1)
    mean = (np.bincount(group, weights=rank + 1) / np.bincount(group))[group]
    pairs = positives * (n - positives)
    total = found.delong.auc[model] * pairs + positives * (positives + 1) / 2
    told = [(mean, total - 0.0006 * pairs, total + 0.0006 * pairs)]
    counts = found.confusion
    each = [getattr(counts, name)[model] for name in ("tp", "fp", "tn", "fn")]
    if min(each) >= SMALLEST:
        told.append(((scores >= cutoff).astype(float), counts.tp[model], counts.tp[model]))
    return told


def solved(equations: list[Any], label: Float) -> int:
    """Count the patients whose other outcome no solution of the equations has."""
    weights, low, high = map(np.array, zip(*equations, strict=True))
    known = 0
    for patient in range(label.size):
        ends = np.tile([[0.0], [1.0]], label.size)
        ends[:, patient] = 1.0 - label[patient]
        found = milp(
            np.zeros(label.size),
            constraints=LinearConstraint(weights, low - 1e-7, high + 1e-7),
            integrality=np.ones(label.size),
            bounds=Bounds(*ends),
        )
        known += found.status == 2
    return known


@pytest.mark.parametrize(("models", "known"), [(1, 5), (6, 44)])
def test_areas_and_counts_of_six_models_tell_every_outcome(models: int, known: int) -> None:
    """Whoever holds six predictions of each of 44 patients has as many equations; one has few."""
    random = np.random.default_rng(1)
    label = np.zeros(44)
    label[random.choice(44, 15, replace=False)] = 1.0
    latent = random.normal(0.0, 0.6, 44) + 1.3 * label - 1.0
    scores = expit(latent[:, None] + random.normal(0.0, 0.7, (44, models)))
    cutoffs, edges = np.full(models, 0.35), score_edges(np.zeros((models, 0)))
    names = tuple(f"model {i}" for i in range(models))
    found = evaluate_locally(
        Rows(scores, names, label, np.zeros(44, int)), cutoffs, edges, SMALLEST
    )
    equations = [(np.ones(44), label.sum(), label.sum())]
    for model in range(models):
        equations += equations_of(scores[:, model], cutoffs[model], found, model)
    assert solved(equations, label) == known
