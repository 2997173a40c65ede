"""Canaries among 61 computer-made patients of three hospitals, as the attack on Gram matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.evaluation.canaries import (
    PLANTED,
    Answers,
    CanaryAudit,
    Held,
    audit_totals,
    canaries_of,
    rounded_up,
)
from common.evaluation.decoders import Total
from common.learning.normal_scores import knots_of, score_grid
from common.statistics.base import Float, Rows
from common.statistics.gram import FoldGram
from common.statistics.histogram import Histogram
from common.statistics.moments import Means
from common.statistics.rank_gram import first_edges, merge_cells, refine_edges
from common.transforms import NormalScores

PATIENTS, COLUMNS, ROWS, LIMIT, LEAST = 200, 250, 61, 3.0, 3
OWN = slice(0, 25)  # of the hospital that plants
REFUSES = Answers(joined=False, left=np.zeros(25, dtype=bool))
Step = Callable[[Rows], Rows]


def table(values: Float) -> Rows:
    names = tuple(f"x{i}" for i in range(values.shape[1]))
    n = len(values)
    return Rows(values, names, np.arange(n) % 2.0, np.zeros(n, dtype=np.int64))


def cohort(seed: int) -> Rows:
    """z-scores with long tails on one side, as volumes and energies have them."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((PATIENTS, 10)) @ rng.standard_normal((10, COLUMNS)) / 6.0
    values = np.exp(1.2 * (shared + rng.standard_normal((PATIENTS, COLUMNS))))
    return table((values - values.mean(axis=0)) / values.std(axis=0))


def scores_of(everyone: Rows) -> Step:
    """Normal scores by the counts of all patients, as the product makes them in guarded mode."""
    edges = first_edges(COLUMNS, 64)
    for _ in range(2):
        asked = Histogram(edges=edges)
        found = asked.finalise(asked.from_rows(everyone))
        edges = refine_edges(found, 64)
    return NormalScores(
        everyone.columns, knots_of(merge_cells(found), LIMIT), score_grid(LIMIT)
    ).apply


def audit(everyone: Rows, step: Step, limit: float) -> CanaryAudit:
    """The audit of the products of `ROWS` patients, by the hospital that holds the first ones."""
    statistic, inside = FoldGram(folds=1), everyone.at(np.arange(ROWS))
    own = inside.at(np.arange(ROWS)[OWN])
    total = Total.of(statistic, statistic.from_rows(step(inside)))

    def planted(fold: int) -> Rows:
        return step(canaries_of(own, (1, 2), fold))

    return audit_totals([Held(total, lambda: step(own), planted)], limit, LEAST, REFUSES)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_search_finds_canaries_behind_plain_values_and_none_behind_scores(seed: int) -> None:
    everyone = cohort(seed)
    plain = audit(everyone, lambda rows: rows, np.inf)
    scored = audit(everyone, scores_of(everyone), LIMIT)
    assert plain.components.found >= 6 and plain.columns.found >= 3
    assert plain.components.patients_found > 10
    for decoder in ("components", "columns"):
        with_, without = getattr(plain, decoder), getattr(scored, decoder)
        assert (with_.chance, without.chance) == (0, 0)
        assert (without.searched, without.planted, without.found) == (1, PLANTED, 0)
        assert (without.patients, without.patients_found) == (25, 0)


def counted(values: Float, own: Float, edges: Float, least: int = LEAST) -> Any:
    statistic = Histogram(edges=edges)
    total = Total.of(statistic, statistic.from_rows(table(values)))
    held = Held(total, lambda: table(own), lambda fold: canaries_of(table(own), (1,), fold))
    return audit_totals([held], np.inf, least, REFUSES)


def test_what_is_found_as_often_without_canaries_is_told_as_chance() -> None:
    """In intervals of one patient each, where nobody's values rule anything out."""
    values = np.linspace(0.0, 1.0, 20)[:, None]
    fine = np.concatenate([[-np.inf], np.linspace(0.026, 0.974, 19), [np.inf]])[None]
    found = counted(values, values[:12], fine).cells
    assert found.chance == PLANTED  # each shares a value with a patient who is alone there
    assert found.found == 0  # and is then one of two
    coarse = np.array([[-np.inf, 0.5, np.inf]])
    assert counted(values, values[:12], coarse).cells.chance == 0


def test_own_patients_are_counted_in_steps_and_few_not_at_all() -> None:
    values = np.linspace(0.0, 1.0, 20)[:, None]
    fine = np.concatenate([[-np.inf], np.linspace(0.026, 0.974, 19), [np.inf]])[None]
    found = counted(values, values[:4], fine).cells
    assert (found.patients, found.patients_found) == (4, 4)
    few = counted(values, values[:2], fine).cells
    assert (few.patients, few.patients_found, few.planted) == (0, 0, PLANTED)
    assert [rounded_up(one, 9, 3) for one in (0, 1, 2, 3, 7)] == [0, 3, 3, 3, 9]


def test_a_decoder_without_a_total_to_search_plants_nothing() -> None:
    found = counted(np.zeros((9, 1)), np.zeros((9, 1)), np.array([[-np.inf, np.inf]]))
    for figures in (found.components, found.columns):
        assert set(vars(figures).values()) == {0}
    assert (found.cells.searched, found.cells.planted) == (1, PLANTED)


def test_canaries_are_made_up_alike_each_time_and_a_third_lies_far_out() -> None:
    own = table(np.random.default_rng(0).standard_normal((30, 12)))
    first, second = (canaries_of(own, (3,), 2) for _ in range(2))
    assert np.array_equal(first.values, second.values)
    assert not np.array_equal(first.values, canaries_of(own, (4,), 2).values)
    assert set(first.fold.tolist()) == {2}
    assert np.isin(first.values[:3], own.values).all()
    assert np.abs(first.values[3:6]).mean() > 5.0 * np.abs(own.values).mean()
    assert ((np.abs(first.values[6:]) > 100.0).sum(axis=1) == 1).all()
    # a patient whose values are all missing at this hospital
    assert np.isnan(canaries_of(table(np.full((5, 2), np.nan)), (1,), 0).values[:3]).all()


def test_a_difference_is_the_canary_where_the_second_sum_would_be_answered() -> None:
    values = np.random.default_rng(2).standard_normal((40, 3))
    values[4, 1] = np.nan
    own, total = table(values[:25]), Total.of(Means(), Means().from_rows(table(values)))
    held = Held(total, lambda: own, lambda fold: canaries_of(own, (1,), fold))
    answers = Answers(joined=True, left=np.arange(25) < 4)
    open_ = audit_totals([held], np.inf, LEAST, answers).differences
    assert (open_.searched, open_.found, open_.chance) == (1, PLANTED, 0)
    assert (open_.patients, open_.patients_found) == (25, 6)
    closed = audit_totals([held], np.inf, LEAST, REFUSES).differences
    assert (closed.searched, closed.planted, closed.found) == (1, PLANTED, 0)
    assert (closed.patients, closed.patients_found) == (25, 0)
