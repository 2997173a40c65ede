"""Attack (s), continued: outcomes of a small test set at one hospital, whose scores are all known.

Whoever knows the scores of all patients of the set tries every way to deal the outcomes, and keeps
those that give all the numbers that the hospital publishes.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import common.evaluation.local as local
from common.evaluation.local import Evaluation, evaluate_locally
from common.messages.validation import to_json
from common.statistics.base import Float, Rows
from common.statistics.class_histogram import FIXED, QUANTILES

PATIENTS, POSITIVES, SMALLEST = 10, 5, 3
EVERY_WAY = [list(one) for one in itertools.combinations(range(PATIENTS), POSITIVES)]


def dealt(positives: list[int]) -> Float:
    label = np.zeros(PATIENTS)
    label[positives] = 1.0
    return label


def known_outcomes(seed: int, told: Callable[[Evaluation], Any]) -> int:
    """Count the patients whose outcome is the same in every way that fits what is published."""
    random = np.random.default_rng(seed)
    training = random.beta(2, 3, 200)
    scores = random.beta(2, 3, PATIENTS)
    chance = scores**1.5 / (scores**1.5).sum()
    true = np.sort(random.choice(PATIENTS, POSITIVES, replace=False, p=chance)).tolist()
    quantiles = np.quantile(training, QUANTILES)
    edges = np.unique(np.concatenate([[0.0], quantiles, FIXED, [1.0]]))[None]
    cutoffs = np.array([np.quantile(training, 0.6)])

    def published(positives: list[int]) -> str:
        rows = Rows(
            scores[:, None], ("model",), dealt(positives), np.zeros(PATIENTS, dtype=np.int64)
        )
        return json.dumps(to_json(told(evaluate_locally(rows, cutoffs, edges, SMALLEST))))

    wanted = published(true)
    fitting = np.array([dealt(one) for one in EVERY_WAY if published(one) == wanted])
    return int(((fitting == 0).all(axis=0) | (fitting == 1).all(axis=0)).sum())


def brier_and_recalibration(found: Evaluation) -> tuple[Any, ...]:
    return found.brier, found.smooth


def areas_and_counts(found: Evaluation) -> tuple[Any, ...]:
    return found.delong, found.histogram, found.confusion, found.decision


def test_brier_score_and_recalibration_tell_no_outcome_that_areas_and_counts_do_not() -> None:
    assert known_outcomes(2, brier_and_recalibration) == known_outcomes(2, areas_and_counts) == 3


def test_all_their_digits_told_those_of_most_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "without_late_digits", lambda found: found)
    assert known_outcomes(2, brier_and_recalibration) == 8


def test_all_measures_together_tell_a_few_outcomes() -> None:
    """Groups of neighbouring ranks and cells at the cut-off end elsewhere: the dossier says so."""
    assert sum(known_outcomes(seed, lambda found: found) for seed in range(4)) == 4
