from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from common.disclosure.scores import check_test_set
from common.statistics.class_histogram import ClassCells, ClassHistogram
from common.statistics.forest import NodeCounts
from common.statistics.placements import Placements
from common.statistics.scores import BrierSums, Confusion, DecisionCounts
from common.study.model import PrivacySettings

EDGES = np.array([[-np.inf, 0.5, np.inf]])
SUMS = [ClassHistogram(edges=EDGES), Confusion(cutoffs=np.ones(1)), BrierSums(), DecisionCounts()]
OPEN = {"masking": "where_possible"}


def placements(negatives: Any, positives: Any) -> Placements:
    def cells(counts: Any) -> ClassCells:
        held = np.array([counts], dtype=float)
        return ClassCells(edges=EDGES, counts=held, lower=0 * held, upper=0 * held + 1)

    return Placements(
        edges=EDGES,
        single=np.zeros((1, 2)),
        negatives=cells(negatives),
        positives=cells(positives),
    )


@pytest.mark.parametrize("statistic", SUMS)
def test_scores_of_a_set_over_three_sites_may_be_few(rows: Any, asked: Any, statistic: Any) -> None:
    assert asked(statistic, rows(np.zeros((2, 1)), 1), "spread") == []


@pytest.mark.parametrize("statistic", [*SUMS, placements((9, 9), (9, 9))])
def test_scores_of_a_set_at_one_site_stay_there(rows: Any, asked: Any, statistic: Any) -> None:
    assert asked(statistic, rows(np.zeros((90, 1))), "one") == [("one_site_scores", 2)]


@pytest.mark.parametrize(
    ("n", "positives", "expected"),
    [
        (10, 5, []),
        (9, 0, [("rows", 10)]),
        (10, 4, [("test_class", 5)]),
        (10, 0, []),
        (0, 0, []),
    ],
)
def test_scores_that_can_be_seen_are_enough(
    rows: Any, asked: Any, study: Any, n: int, positives: int, expected: Any
) -> None:
    table = rows(np.zeros((n, 1)), positives)
    assert asked(BrierSums(), table, "two", study=study(privacy=OPEN)) == expected


@pytest.mark.parametrize(
    ("negatives", "positives", "expected"),
    [
        ((0, 30), (3, 9), []),
        ((0, 30), (2, 10), [("placements", 3)]),
        ((1, 29), (3, 9), [("placements", 3)]),
    ],
)
def test_class_wise_cells_hold_none_or_enough(
    rows: Any, asked: Any, negatives: Any, positives: Any, expected: Any
) -> None:
    table = rows(np.zeros((5, 1)))
    assert asked(placements(negatives, positives), table, "spread") == expected


def test_a_site_may_ask_for_larger_cells(rows: Any, asked: Any) -> None:
    tight, table = PrivacySettings(min_cell=4), rows(np.zeros((5, 1)))
    question = placements((0, 30), (3, 9))
    assert asked(question, table, "spread", privacy=tight) == [("placements", 4)]


@pytest.mark.parametrize(
    ("n", "positives", "expected"),
    [(10, 5, []), (9, 5, ["test_rows", "test_class"]), (10, 4, ["test_class"])],
)
def test_measures_of_own_test_patients_need_enough(
    rows: Any, n: int, positives: int, expected: Any
) -> None:
    found = check_test_set(rows(np.zeros((n, 1)), positives), "one", PrivacySettings())
    assert [refusal.rule for refusal in found] == expected


def node_counts(**changes: Any) -> NodeCounts:
    one = np.array([0])
    question = NodeCounts(
        edges=np.array([[-np.inf, 0.3, 0.6, np.inf]]),
        feature=np.array([[0, -1, -1]]),
        threshold=np.array([[0.6, 0.0, 0.0]]),
        excluded=-1 + one,
        draw=-1 + one,
        seed=1,
        tree=one,
        node=one + 1,
        column=one,
    )
    return dataclasses.replace(question, **changes)


def test_a_forest_is_grown_on_the_edges_of_bins_and_no_deeper_than_allowed(
    rows: Any, asked: Any, study: Any
) -> None:
    table = rows(np.full((50, 1), 0.5))
    declared = study(fusion={"pooling": "bins", "bins": 3})
    assert asked(node_counts(), table, study=declared) == []
    moved = node_counts(threshold=np.array([[0.61, 0.0, 0.0]]))
    deep = node_counts(feature=np.full((1, 31), -1), threshold=np.zeros((1, 31)))
    fine = node_counts(edges=np.array([[-np.inf, 0.3, 0.6, 0.7, np.inf]]))
    for question in (moved, deep, fine):
        assert asked(question, table, study=declared) == [("bin_counts", 4)]
    assert asked(node_counts(), table) == [("bin_counts", 4)]
    tight = PrivacySettings(max_tree_depth=1)
    assert asked(node_counts(), table, study=declared, privacy=tight) == [("bin_counts", 1)]
