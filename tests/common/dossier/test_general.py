"""The general dossier names all that can leave, and is the one that is checked in."""

from __future__ import annotations

import ast
import operator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.disclosure.rule import RULES, rules_of
from common.dossier.general import (
    NOT_MEASURED,
    Attack,
    attacks,
    attacks_section,
    axes,
    fields_of,
    first_sentence,
    general_dossier,
    message_texts,
    rounding,
    rule_text,
    travelling_classes,
    type_words,
)
from common.masking.narrow import Packed
from common.messages.exchanges import (
    CATALOGUE,
    REPLIES_IN_PLACE,
    RowsReply,
    SumReply,
    Totals,
    TrainReply,
)
from common.statistics.base import statistic_classes
from common.statistics.calibration import CalibrationSums
from common.statistics.capped_histogram import CappedHistogram
from common.statistics.class_histogram import ClassHistogram
from common.statistics.counts import FoldCounts, LevelCounts
from common.statistics.cox import CoxGradient
from common.statistics.dealt_folds import DealtFolds, LevelTotals
from common.statistics.fold_histogram import FoldHistogram
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
from common.statistics.platt import PlattSums
from common.statistics.rank_gram import RankGram
from common.statistics.ranked_pairs import RankedPairs
from common.statistics.risk_sums import RiskSums
from common.statistics.scores import BinnedCalibration, BrierSums, Confusion, DecisionCounts
from common.statistics.site_quartiles import SiteQuartiles
from common.statistics.svm import SvmGradient
from common.statistics.table1 import GroupSums, JoinedHistogram, ProtectedLevelCounts
from common.statistics.within_batches import WithinBatches
from server.phases.evaluation import scores_asks
from tests import builders

ROOT = Path(__file__).resolve().parents[3]
COLUMNS, FOLDS, CELLS, LEVELS, PROBLEMS, POINTS, QUESTIONS = 7, 5, 11, 4, 13, 3, 17
EDGES, CENTRE = np.zeros((COLUMNS, CELLS + 1)), np.zeros(COLUMNS)
PERIODS, HORIZONS, GROUPS = 12, 2, 3
CUTS = np.zeros((COLUMNS, GROUPS - 1))
EACH, TREES = np.zeros(QUESTIONS, dtype=np.int64), np.zeros((2, 3), dtype=np.int64)
EXAMPLES: list[Any] = [
    BinnedCalibration(),
    BrierSums(),
    CalibrationSums(CENTRE, CENTRE, CENTRE),
    CappedHistogram(edges=EDGES, cap=2),
    CentredSquares(mean=CENTRE),
    ClassHistogram(edges=EDGES),
    Confusion(cutoffs=CENTRE),
    CoxGradient(
        weights=np.zeros((PROBLEMS, COLUMNS)),
        excluded=np.zeros((PROBLEMS, FOLDS)),
        validation=np.zeros(PROBLEMS, dtype=np.int64),
        periods=PERIODS,
    ),
    CrossProducts(mean=CENTRE),
    DealtFolds(folds=FOLDS, totals=np.zeros((COLUMNS, LEVELS))),
    DecisionCounts(),
    FoldCounts(folds=FOLDS),
    FoldGram(folds=FOLDS),
    FoldHistogram(folds=FOLDS, edges=EDGES),
    FoldMoments(folds=FOLDS),
    FoldScores(folds=FOLDS, edges=EDGES),
    GroupSums(centre=CENTRE),
    Histogram(edges=EDGES),
    JoinedHistogram(edges=EDGES, minimum=3),
    LevelCounts(levels=LEVELS),
    LevelTotals(levels=LEVELS),
    LifeTable(cuts=CUTS, periods=PERIODS),
    LogRank(cuts=CUTS, periods=PERIODS),
    Means(),
    Missingness(),
    NodeCounts(
        edges=EDGES,
        feature=TREES,
        threshold=TREES.astype(float),
        excluded=TREES[:, 0],
        draw=TREES[:, 0],
        seed=0,
        tree=EACH,
        node=EACH,
        column=EACH,
    ),
    OwnPairs(),
    PairedMoments(mean=CENTRE),
    PlattSums(a=np.zeros(POINTS), b=np.zeros(POINTS), positives=1, negatives=1),
    ProtectedLevelCounts(levels=LEVELS, minimum=3),
    RankGram(edges=EDGES, counts=np.zeros((COLUMNS, CELLS))),
    RankedPairs(edges=EDGES, periods=PERIODS, horizons=np.zeros(HORIZONS, dtype=np.int64)),
    RiskSums(periods=PERIODS, starts=np.array([0, 2])),
    SiteQuartiles(decimals=np.zeros(COLUMNS, dtype=np.int64), fewest=10, minimum=3),
    SvmGradient(
        weights=np.zeros((PROBLEMS, COLUMNS + 1)),
        excluded=np.zeros((PROBLEMS, FOLDS)),
        validation=np.zeros(PROBLEMS, dtype=np.int64),
    ),
    WithinBatches(covariates=1),
]
EXAMPLES_BY_NAME = {type(example).__name__: example for example in EXAMPLES}
SIZES = {
    "starts": 2,
    "columns": COLUMNS,
    "models": COLUMNS,
    "folds": FOLDS,
    "cells": CELLS,
    "levels": LEVELS,
    "problems": PROBLEMS,
    "points": POINTS,
    "questions": QUESTIONS,
    "features": COLUMNS - 1,
    "covariates": 1,
    "periods": PERIODS,
    "horizons": HORIZONS,
    "groups": GROUPS,
}
ARITHMETIC = {ast.Add: operator.add, ast.Mult: operator.mul, ast.Div: operator.floordiv}


def number(axis: str) -> int:
    """Return the size that an axis in words stands for; KeyError for a word not in `SIZES`."""

    def value(node: ast.expr) -> int:
        if isinstance(node, ast.BinOp):
            found: int = ARITHMETIC[type(node.op)](value(node.left), value(node.right))
            return found
        if isinstance(node, ast.Name):
            return SIZES[node.id]
        assert isinstance(node, ast.Constant)
        return int(str(node.value))

    return value(ast.parse(axis, mode="eval").body)


def test_the_dossier_in_docs_is_that_of_this_code() -> None:
    stored = (ROOT / "docs" / "privacy-dossier.md").read_text(encoding="utf-8")
    assert stored == general_dossier(), "run `make dossier`"


def test_every_field_that_travels_is_described_and_no_other() -> None:
    texts = message_texts()
    assert set(texts) == set(travelling_classes())
    for name, cls in travelling_classes().items():
        assert set(texts[name].fields) == set(fields_of(cls)), name
        assert set(texts[name].masked) <= set(fields_of(cls)), name
        assert all(len(words) > 4 for words in texts[name].fields.values()), name


def test_every_exchange_with_all_its_fields_stands_in_the_dossier() -> None:
    text = general_dossier()
    for name, exchange in CATALOGUE.items():
        section = text.split(f"\n### {name}\n")[1].split("\n### ")[0]
        for cls in (exchange.request, exchange.reply):
            for field in fields_of(cls):
                assert f"| `{field}` |" in section, (name, field)


def test_every_answer_says_what_an_attacker_could_do() -> None:
    texts = message_texts()
    for exchange in CATALOGUE.values():
        assert texts[exchange.reply.__name__].attack.endswith("."), exchange.reply


def test_what_travels_as_ring_elements_is_what_is_called_masked() -> None:
    texts = message_texts()
    masked = {(name, field) for name, text in texts.items() for field in text.masked}
    rings = {
        (cls.__name__, field)
        for cls in travelling_classes().values()
        if cls is not Totals  # sums over all sites, on their way back to them
        for field, hint in fields_of(cls).items()
        if any(ring in type_words(hint) for ring in ("uint64", "uint32")) or hint == Packed
    }
    # bytes that are no ring elements: signatures and keys
    rings = {(name, field) for name, field in rings if name not in ("SignReply", "OpenReply")}
    # epsilon is a bound on the cost, made of settings and counts that are known; an objection is
    # mostly empty, else two rounded losses of enough patients; departures count rounds
    echo = {"site", "session", "number", "request", "attempt", "epsilon", "objection", "departures"}
    numbers = {(c.__name__, f) for c in (SumReply, TrainReply, RowsReply) for f in fields_of(c)}
    assert masked == rings == {(name, field) for name, field in numbers if field not in echo}


@pytest.mark.parametrize("name", statistic_classes())
def test_a_statistic_says_what_it_is_and_what_an_attacker_could_do(name: str) -> None:
    text = statistic_classes()[name]
    assert text.about.endswith(".")
    assert text.attack.endswith(".")
    assert len(text.attack.split()) >= 8
    assert f"\n### {name}\n" in general_dossier()


@pytest.mark.parametrize("name", statistic_classes())
def test_shapes_in_words_are_those_the_statistic_declares(name: str) -> None:
    # placements come with cells of two classes: the plan knows how to make them
    study = builders.study(tests={"t": ("external_test", "abc")})
    shapes = statistic_classes()[name].axes
    if name == "Placements":
        parts = scores_asks(study, COLUMNS, "t")[-1].parts
        declared = {part: own.replace(",", "") for part, own in parts.items()}
    else:
        found = EXAMPLES_BY_NAME[name].shapes(COLUMNS)
        declared = {part: " x ".join(map(str, own)) for part, own in found.items()}
    assert declared == {p: " x ".join(str(number(a)) for a in own) for p, own in shapes.items()}


def test_every_rule_is_described_used_and_shown() -> None:
    text = rule_text()
    assert set(text.messages) == set(CATALOGUE)
    used = {
        name
        for names in (
            text.every_sum,
            text.training_sum,
            *text.messages.values(),
            *([rule.name for rule in rules_of(c.kind)] for c in statistic_classes().values()),
        )
        for name in names
    }
    assert used == set(RULES)
    shown = general_dossier().split("\n## The rules\n")[1].split("\n## ")[0]
    assert all(f"| `{name}` |" in shown for name in RULES)


def test_an_attack_has_a_figure_with_its_source_or_none() -> None:
    for one in attacks():
        assert bool(one.result) == bool(one.source), one.name
        assert not one.source or (ROOT / one.source).is_file(), one.name


def test_figures_of_attacks_are_shown_when_they_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Attack("a", "Search.", "plain", "5 of 9 patients", "tests/x.py")
    open_one = Attack("b", "Guess.", "masked", "", "")
    monkeypatch.setattr("common.dossier.general.attacks", lambda: (measured, open_one))
    text = attacks_section()
    assert "| Search. | plain | 5 of 9 patients (tests/x.py) |" in text
    assert f"| Guess. | masked | {NOT_MEASURED} |" in text


def test_answers_in_place_of_any_other_are_shown() -> None:
    text = general_dossier()
    assert all(f"\n`{cls.__name__}`\n" in text for cls in REPLIES_IN_PLACE)


def test_shapes_read_well() -> None:
    assert axes(("folds", "columns * (columns + 1) / 2")) == "folds x columns (columns + 1) / 2"
    assert axes(("problems", "columns + 1")) == "problems x (columns + 1)"
    assert axes(("1",)) == "1"


def test_a_first_sentence_does_not_end_within_an_ellipsis() -> None:
    assert first_sentence(LevelCounts).endswith("missing values are left out.")
    assert first_sentence(FoldHistogram) == "Counts per fold, column and cell."


def test_rounding_of_counts_is_none_and_of_others_a_power_of_two() -> None:
    assert rounding(0.5) == "none (whole numbers)"
    assert rounding(2.0**-32) == "2^-32"
