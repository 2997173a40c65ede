from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from common.evaluation.delong import exact
from common.evaluation.joined_scores import group_scores, join_scores, joined_areas
from common.statistics.base import Float, Rows

# none of them is a threshold
EDGES = np.linspace(0.0, 1.0, 8)
MINIMUM = 3


def rows(scores: Float, label: Float | None = None) -> Rows:
    n = len(scores)
    label = np.zeros(n) if label is None else label
    return Rows(np.asarray(scores).reshape(n, -1), ("model",), label, np.zeros(n, int))


def compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in compositions(total - first, parts - 1):
            yield (first, *rest)


def told_apart(total: int, shown: Callable[[Float], tuple[object, ...]]) -> int:
    """Count the cells, over all patients there could be, of which somebody sees that 1 or 2 are in.

    A cell is seen to hold few if it holds some in all sets of patients that look alike, and few in
    one of them.
    """
    alike: dict[tuple[object, ...], list[tuple[int, ...]]] = defaultdict(list)
    middles = (EDGES[:-1] + EDGES[1:]) / 2
    for counts in compositions(total, middles.size):
        alike[shown(np.repeat(middles, counts))].append(counts)
    fewest = [np.min(group, axis=0) for group in alike.values()]
    return sum(int(((one > 0) & (one < MINIMUM)).sum()) for one in fewest)


def joined(cutoff: float) -> Callable[[Float], tuple[object, ...]]:
    def shown(scores: Float) -> tuple[object, ...]:
        found = join_scores(rows(scores), EDGES[None], np.array([cutoff]), MINIMUM)
        return tuple(found.values[:, 0].round(9).tolist())

    return shown


def from_the_left(scores: Float) -> tuple[object, ...]:
    ends = [0.0]
    for end in EDGES[1:].tolist():
        if ((scores >= ends[-1]) & (scores < end)).sum() >= MINIMUM:
            ends.append(end)
    return tuple(ends)


@pytest.mark.parametrize("total", [3, 5, 7])
@pytest.mark.parametrize("cutoff", [0.0, 0.25, 0.75, 1.0])
def test_whoever_tries_all_patients_finds_no_cell_that_must_hold_one_or_two(
    total: int, cutoff: float
) -> None:
    assert told_apart(total, joined(cutoff)) == 0


def test_cells_joined_from_one_end_would_show_where_one_lies() -> None:
    assert told_apart(5, from_the_left) > 0


def test_each_side_of_the_cutoff_holds_its_own_rows_or_few() -> None:
    rng = np.random.default_rng(1)
    edges = np.r_[0.0, np.sort(rng.random(30)), 1.0][None]
    for _ in range(200):
        scores, cutoff = rng.random(rng.integers(5, 30)), rng.random()
        found = join_scores(rows(scores), edges, np.array([cutoff]), MINIMUM).values
        true, below = int((scores < cutoff).sum()), int((found < cutoff).sum())
        few = 0 < cutoff < 1 and min(true, scores.size - true) < MINIMUM
        assert below == (true if not few else 1 if true < MINIMUM else scores.size - 1)


def test_rows_at_the_cutoff_do_not_show_how_few_of_a_class_are_on_a_side() -> None:
    """Try outcomes that put 0, 1 or 2 of a class on a side, whose rows are known: all fit."""
    rng = np.random.default_rng(5)
    scores, cutoff = np.sort(rng.random(20)), np.array([0.5])
    below = int((scores < 0.5).sum())
    told = set()
    for few in range(MINIMUM):
        label = np.zeros(20)
        label[np.r_[:few, 20 - 8 + few : 20]] = 1.0
        found = join_scores(rows(scores, label), EDGES[None], cutoff, MINIMUM).values[:, 0] < 0.5
        told.add((int(found[label < 0.5].sum()), int(found[label > 0.5].sum())))
    assert told == {(below - 1, 1)}


@pytest.mark.parametrize("cells", [4, 30])
def test_each_side_of_the_cutoff_keeps_its_rows_and_its_classes_unless_one_is_few(
    cells: int,
) -> None:
    rng = np.random.default_rng(6)
    edges = np.r_[0.0, np.sort(rng.random(cells)), 1.0][None]
    for _ in range(300):
        n = int(rng.integers(12, 40))
        scores, cutoff = rng.random(n) ** rng.uniform(0.3, 3.0), rng.uniform(0.1, 0.9)
        label = np.r_[np.zeros(5), np.ones(5), rng.random(n - 10) < 0.5]
        found = join_scores(rows(scores, label), edges, np.array([cutoff]), MINIMUM).values[:, 0]
        sides = [(own < cutoff, label > 0.5) for own in (scores, found)]
        true, told = (
            np.array([[(side & sick).sum(), (side & ~sick).sum()] for side in (below, ~below)])
            for below, sick in sides
        )
        np.testing.assert_array_equal(told.sum(axis=1), true.sum(axis=1))
        np.testing.assert_array_equal(told.sum(axis=0), true.sum(axis=0))
        assert true.min() < MINIMUM or (told == true).all()


@pytest.mark.parametrize("minimum", [2, 3, 5])
def test_scores_keep_their_order_and_stay_probabilities(minimum: int) -> None:
    rng = np.random.default_rng(2)
    sure = np.r_[rng.random(20), np.zeros(5), np.ones(8), 1 - 1e-16, 1e-90]
    label = (rng.random(sure.size) < 0.4).astype(float)
    for cutoff in (0.0, 1e-80, 0.5, np.nextafter(1.0, 0.0), 1.0, 2.0):
        found = join_scores(rows(sure, label), EDGES[None], np.array([cutoff]), minimum).values
        assert ((found >= 0) & (found <= 1)).all()
        for own in (label < 0.5, label > 0.5):
            order = np.argsort(sure[own], kind="stable")
            assert (np.diff(found[own, 0][order]) >= 0).all()


def test_a_model_that_singles_out_one_patient_has_the_area_of_one_that_tells_nothing() -> None:
    scores, label = np.full((30, 1), 0.5), np.repeat([0.0, 1.0], 15)
    for place, score in ((29, 0.9), (29, 0.1), (0, 0.9)):
        one = scores.copy()
        one[place] = score
        assert exact(one, label).auc[0] != 0.5
        assert joined_areas(one, label, MINIMUM).auc[0] == 0.5


@pytest.mark.parametrize(("n", "auc", "error"), [(30, 0.04, 0.2), (60, 0.015, 0.06)])
def test_areas_of_honest_models_move_little(n: int, auc: float, error: float) -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        label = (rng.random(n) < 0.4).astype(float)
        scores = rng.normal(size=(n, 2)) + label[:, None]
        found, true = joined_areas(scores, label, MINIMUM), exact(scores, label)
        np.testing.assert_allclose(found.auc, true.auc, atol=auc)
        errors = (np.sqrt(np.diag(one.covariance)) for one in (found, true))
        np.testing.assert_allclose(*errors, rtol=error)


def test_areas_that_do_not_exist_stay_unknown() -> None:
    found = joined_areas(np.random.default_rng(3).random((9, 2)), np.ones(9), MINIMUM)
    assert np.isnan(found.auc).all()
    assert np.isnan(found.covariance).all()
    assert (found.n, found.positives) == (9, 9)


def test_groups_of_scores_hold_enough_rows_and_stand_in_order() -> None:
    rng = np.random.default_rng(4)
    for n in (9, 30, 77):
        scores = rng.random(n)
        found = group_scores(rows(scores), EDGES[None], MINIMUM).values[:, 0]
        _, sizes = np.unique(found, return_counts=True)
        assert (sizes >= MINIMUM).all()
        assert (np.diff(found[np.argsort(scores)]) >= 0).all()


def test_whoever_tries_all_patients_finds_no_cell_of_grouped_scores_that_must_hold_one_or_two() -> (
    None
):
    def shown(scores: Float) -> tuple[object, ...]:
        found = group_scores(rows(scores), EDGES[None], MINIMUM)
        return tuple(found.values[:, 0].round(9).tolist())

    for total in (4, 6, 7):
        assert told_apart(total, shown) == 0


def test_a_row_that_moves_within_its_cell_and_its_rank_changes_no_group() -> None:
    scores = np.linspace(0.02, 0.98, 40)
    moved = scores.copy()
    moved[17] += 0.004
    found = [group_scores(rows(one), EDGES[None], MINIMUM).values for one in (scores, moved)]
    np.testing.assert_array_equal(*found)
