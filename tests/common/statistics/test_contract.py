"""Contract of every statistic: additive in any split and order, empty sites, declared parts."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.masking.layout import from_rings, to_rings
from common.messages.plain import from_tree, to_tree
from common.statistics.base import Rows, add, flatten, statistic_classes, zeros
from common.statistics.calibration import CalibrationSums
from common.statistics.capped_histogram import CappedHistogram
from common.statistics.class_histogram import ClassHistogram, merge_class
from common.statistics.counts import FoldCounts, LevelCounts
from common.statistics.cox import CoxGradient
from common.statistics.dealt_folds import DealtFolds, LevelTotals
from common.statistics.exact import DIGITS, from_digits
from common.statistics.fold_histogram import FoldHistogram, Support
from common.statistics.fold_moments import FoldMoments
from common.statistics.fold_scores import FoldScores
from common.statistics.follow_up import LifeTable
from common.statistics.forest import NodeCounts
from common.statistics.gram import CrossProducts, FoldGram
from common.statistics.histogram import Histogram
from common.statistics.icc import PairedMoments
from common.statistics.log_rank import LogRank
from common.statistics.moments import CentredSquares, Means, Missingness
from common.statistics.own_pairs import OwnPairs
from common.statistics.placements import Placements
from common.statistics.platt import PlattSums
from common.statistics.rank_gram import RankGram, first_edges
from common.statistics.ranked_pairs import RankedPairs
from common.statistics.risk_sums import RiskSums
from common.statistics.scores import BinnedCalibration, BrierSums, Confusion, DecisionCounts
from common.statistics.site_quartiles import SiteQuartiles
from common.statistics.svm import SvmGradient
from common.statistics.table1 import GroupSums, JoinedHistogram, ProtectedLevelCounts
from common.statistics.within_batches import WithinBatches

N, P = 37, 3
RANDOM = np.random.default_rng(7)
SCORES = np.round(RANDOM.random((N, P)), 2)
LABEL = (RANDOM.random(N) < 0.4).astype(np.float64)
CODES = RANDOM.integers(0, 4, (N, P)).astype(np.float64)
GRID = np.linspace(0.0, 1.0, 9)
EDGES = first_edges(P, 6)


def table(values: Any) -> Rows:
    return Rows(
        values=np.asarray(values, dtype=np.float64),
        columns=tuple("abc"[: np.shape(values)[1]]),
        label=LABEL,
        fold=np.arange(N, dtype=np.int64) % 6 - 1,
        period=np.arange(N, dtype=np.int64) * 7 % 4,
        paired=np.asarray(values, dtype=np.float64) + 0.1,
    )


ROWS = table(SCORES)
CELLS = Histogram(edges=EDGES).from_rows(ROWS)["counts"]
SCORE_CELLS = ClassHistogram(edges=np.tile(GRID, (P, 1)))
BY_CLASS = SCORE_CELLS.finalise(SCORE_CELLS.from_rows(ROWS))
CENTRE = np.full(P, 0.4)
SUPPORT = Support(low=CENTRE, high=CENTRE + 0.1, apart=np.full((5, P), 6.0))
CASES: list[tuple[Any, Rows]] = [
    (Means(), ROWS),
    (CentredSquares(mean=CENTRE), ROWS),
    (Missingness(), ROWS),
    (FoldCounts(folds=5), ROWS),
    (FoldMoments(folds=5), ROWS),
    (OwnPairs(), ROWS),
    (FoldScores(folds=5, edges=np.tile(GRID, (P, 1))), ROWS),
    (LevelCounts(levels=4), table(CODES)),
    (LevelTotals(levels=4), table(CODES)),
    (DealtFolds(folds=5, totals=np.full((P, 4), 50.0)), table(CODES)),
    (PairedMoments(mean=CENTRE), ROWS),
    (Histogram(edges=EDGES), ROWS),
    (RankGram(edges=EDGES, counts=CELLS), ROWS),
    (FoldHistogram(folds=5, edges=EDGES), ROWS),
    (CappedHistogram(edges=EDGES, cap=2), ROWS),
    (FoldGram(folds=5, support=SUPPORT), ROWS),
    (CrossProducts(mean=CENTRE), ROWS),
    (WithinBatches(covariates=1, support=SUPPORT.narrow(np.array([2]))), ROWS),
    (
        SvmGradient(
            weights=RANDOM.normal(size=(4, P + 1)),
            excluded=np.eye(5)[:4],
            validation=np.array([0, 1, 2, -1]),
        ),
        ROWS,
    ),
    (
        PlattSums(a=np.array([-1.0, 0.5]), b=np.array([0.3, 0.0]), positives=12, negatives=25),
        table(SCORES[:, :1]),
    ),
    (SCORE_CELLS, ROWS),
    (
        Placements(
            edges=BY_CLASS.edges,
            single=BY_CLASS.single,
            negatives=merge_class(BY_CLASS, 0, 3),
            positives=merge_class(BY_CLASS, 1, 3),
        ),
        ROWS,
    ),
    (
        CoxGradient(
            weights=RANDOM.normal(size=(3, P)),
            excluded=np.eye(5)[:3],
            validation=np.array([0, 3, -1]),
            periods=4,
        ),
        ROWS,
    ),
    (RiskSums(periods=4, starts=np.array([0, 1, 3])), ROWS),
    (LifeTable(cuts=np.tile([0.3, 0.6], (P, 1)), periods=4), ROWS),
    (LogRank(cuts=np.tile([0.3, 0.6], (P, 1)), periods=4), ROWS),
    (RankedPairs(edges=np.tile(GRID, (P, 1)), periods=4, horizons=np.array([1, 2])), ROWS),
    (Confusion(cutoffs=CENTRE), ROWS),
    (BinnedCalibration(), ROWS),
    (DecisionCounts(), ROWS),
    (BrierSums(), ROWS),
    (CalibrationSums(intercept=CENTRE, slope=1.0 - CENTRE, large=-CENTRE), ROWS),
    (GroupSums(centre=CENTRE), ROWS),
    (ProtectedLevelCounts(levels=4, minimum=3), table(CODES)),
    (JoinedHistogram(edges=EDGES, minimum=3), ROWS),
    (SiteQuartiles(decimals=np.array([2, -1, 2]), fewest=10, minimum=3), ROWS),
    (
        NodeCounts(
            edges=np.tile(GRID, (P, 1)),
            feature=np.array([[0, -1, -1], [-1, -1, -1]]),
            threshold=np.array([[0.5, 0.0, 0.0], [0.0, 0.0, 0.0]]),
            excluded=np.array([1, -1]),
            draw=np.array([0, -1]),
            seed=3,
            tree=np.array([0, 0, 1]),
            node=np.array([1, 2, 0]),
            column=np.array([2, 0, 1]),
        ),
        ROWS,
    ),
]
NAMES = [type(statistic).__name__ for statistic, _ in CASES]
# ranks, repeats, placements, risk sets and means of a hospital depend on which rows share a site:
# only what comes of them is stable; and what one site gives alone is never summed
NOT_SITE_FREE = (
    OwnPairs,
    CappedHistogram,
    RankGram,
    ClassHistogram,
    Placements,
    ProtectedLevelCounts,
    JoinedHistogram,
    SiteQuartiles,
    WithinBatches,
    CoxGradient,
    LogRank,
    RankedPairs,
)
SITE_FREE = [case for case in CASES if type(case[0]) not in NOT_SITE_FREE]
# sizes of axes that the dossier has in words
SIZES: dict[str, Callable[[Any], int]] = {
    "folds": lambda statistic: 5,
    "levels": lambda statistic: 4,
    "periods": lambda statistic: 4,
    "cells": lambda statistic: statistic.edges.shape[1] - 1,
    "problems": lambda statistic: len(statistic.weights),
    "points": lambda statistic: statistic.a.size,
    "questions": lambda statistic: statistic.tree.size,
    "groups": lambda statistic: statistic.cuts.shape[1] + 1,
    "horizons": lambda statistic: statistic.horizons.size,
    "starts": lambda statistic: statistic.starts.size,
    "covariates": lambda statistic: statistic.covariates,
    "columns": lambda statistic: COLUMNS,
    "models": lambda statistic: COLUMNS,
    "features": lambda statistic: COLUMNS - statistic.covariates,
}
COLUMNS = 7
ARITHMETIC = {ast.Add: operator.add, ast.Mult: operator.mul, ast.Div: operator.floordiv}


def size(statistic: Any, node: ast.expr) -> int:
    """Return the size that an axis in words stands for; KeyError for a word not in `SIZES`."""
    if isinstance(node, ast.BinOp):
        left, right = size(statistic, node.left), size(statistic, node.right)
        return int(ARITHMETIC[type(node.op)](left, right))
    if isinstance(node, ast.Name):
        return SIZES[node.id](statistic)
    assert isinstance(node, ast.Constant)
    return int(str(node.value))


def test_every_statistic_is_held_to_the_contract() -> None:
    assert set(NAMES) == set(statistic_classes())


def take(rows: Rows, index: Any) -> Rows:
    return Rows(
        values=rows.values[index],
        columns=rows.columns,
        label=rows.label[index],
        fold=rows.fold[index],
        paired=None if rows.paired is None else rows.paired[index],
        origin=None if rows.origin is None else rows.origin[index],
        period=None if rows.period is None else rows.period[index],
    )


@pytest.mark.parametrize(("statistic", "rows"), CASES, ids=NAMES)
def test_axes_in_words_are_the_shapes_that_it_declares(statistic: Any, rows: Rows) -> None:
    words = {
        part: tuple(size(statistic, ast.parse(axis, mode="eval").body) for axis in axes)
        for part, axes in statistic.axes.items()
    }
    assert words == statistic.shapes(COLUMNS)


@pytest.mark.parametrize(("statistic", "rows"), CASES, ids=NAMES)
def test_parts_are_those_declared_and_steps_cover_them(statistic: Any, rows: Rows) -> None:
    shapes = statistic.shapes(rows.p)
    vector = flatten(statistic.from_rows(rows), shapes)
    assert vector.dtype == np.float64
    assert list(statistic.step) == list(shapes)
    assert isinstance(statistic.kind, str)


@pytest.mark.parametrize(("statistic", "rows"), CASES, ids=NAMES)
def test_a_site_without_rows_adds_nothing(statistic: Any, rows: Rows) -> None:
    empty = statistic.from_rows(take(rows, slice(0, 0)))
    assert not flatten(empty, statistic.shapes(rows.p)).any()


@pytest.mark.parametrize(("statistic", "rows"), CASES, ids=NAMES)
def test_question_and_answer_travel_as_plain_data(statistic: Any, rows: Rows) -> None:
    again = from_tree(*to_tree(statistic))
    sums = again.from_rows(rows)
    expected = statistic.from_rows(rows)
    assert all(np.array_equal(sums[name], expected[name]) for name in expected)
    to_tree(statistic.finalise(expected))


@pytest.mark.parametrize(("statistic", "rows"), CASES, ids=NAMES)
def test_fixed_point_is_within_the_declared_scale(statistic: Any, rows: Rows) -> None:
    sums = statistic.from_rows(rows)
    back = from_rings(statistic, to_rings(statistic, sums, rows.p, 64), rows.p)
    for part, step in statistic.step.items():
        assert np.exp2(np.rint(np.log2(step))) == step
        assert (np.abs(back[part] - sums[part]) <= step).all()


@pytest.mark.parametrize(("statistic", "rows"), SITE_FREE, ids=lambda x: type(x).__name__)
@given(owner=st.lists(st.integers(0, 4), min_size=N, max_size=N), order=st.permutations(range(5)))
@settings(max_examples=8)
def test_any_split_in_any_order_sums_to_the_whole(
    statistic: Any, rows: Rows, owner: list[int], order: list[int]
) -> None:
    if isinstance(statistic, Missingness):
        return
    total = zeros(statistic.shapes(rows.p))
    for site in order:
        total = add(total, statistic.from_rows(take(rows, np.array(owner) == site)))
    whole = statistic.from_rows(rows)
    for name in whole:
        found, wanted = numbers_of(total[name]), numbers_of(whole[name])
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def numbers_of(part: Any) -> Any:
    """Convert digits to the numbers they represent."""
    return from_digits(part) if part.ndim == 2 and part.shape[1] == DIGITS else part
