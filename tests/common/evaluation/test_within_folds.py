"""Measures within folds: the area of pairs of one fold, and cut-offs judged on another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, roc_auc_score
from sklearn.model_selection import KFold, cross_val_predict

from common.evaluation.roc import youden_cutoff
from common.evaluation.within_folds import exact_scores, within_folds
from common.statistics.base import Rows
from common.statistics.fold_scores import FoldScores

FOLDS = 5


def made_up(seed: int, effect: float, n: int = 200) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(seed)
    labels = np.tile([0.0, 0.0, 1.0, 0.0, 1.0], n // 5)
    return random.normal(size=n) + effect * labels, labels, random.permutation(np.arange(n) % FOLDS)


def test_areas_and_counts_are_those_of_each_fold_by_itself() -> None:
    scores, labels, fold = made_up(1, 0.8)
    scores = scores + fold  # each fold on a level of its own
    found = within_folds(exact_scores(scores, labels, fold, FOLDS))
    areas, pairs, counts = [], [], np.zeros(4)
    for k in range(FOLDS):
        own = fold == k
        areas.append(roc_auc_score(labels[own], scores[own]))
        pairs.append(labels[own].sum() * (1 - labels[own]).sum())
        cut = youden_cutoff(scores[~own], labels[~own])
        counts += confusion_matrix(labels[own], scores[own] >= cut).ravel()
    assert found.auc[0] == pytest.approx(np.average(areas, weights=pairs), abs=1e-12)
    called = found.confusion
    assert [called.tn[0], called.fp[0], called.fn[0], called.tp[0]] == counts.tolist()


def test_the_variance_is_that_of_repeated_samples() -> None:
    found = [within_folds(exact_scores(*made_up(seed, 0.8), FOLDS)) for seed in range(300)]
    spread = np.std([one.auc[0] for one in found])
    assert np.mean([np.sqrt(one.variance[0]) for one in found]) == pytest.approx(spread, rel=0.1)


def test_without_a_signal_neither_area_nor_youden_index_leans_to_a_side() -> None:
    """The usual measures of the same predictions do: 300 shuffled studies."""
    within: list[tuple[float, float]] = []
    usual: list[tuple[float, float]] = []
    for seed in range(300):
        random = np.random.default_rng(seed)
        x, labels = random.normal(size=(60, 8)), np.tile([0.0, 1.0, 0.0], 20)
        folds = KFold(FOLDS, shuffle=True, random_state=seed)
        model = LogisticRegression()
        scores = cross_val_predict(model, x, labels, cv=folds, method="predict_proba")[:, 1]
        fold = np.empty(60, dtype=np.int64)
        for k, (_, own) in enumerate(folds.split(x)):
            fold[own] = k
        found = within_folds(exact_scores(scores, labels, fold, FOLDS))
        youden = found.confusion.tp[0] / 20 + found.confusion.tn[0] / 40 - 1
        within.append((float(found.auc[0]), youden))
        cut = youden_cutoff(scores, labels)
        called = scores >= cut
        best = called[labels > 0.5].mean() - called[labels < 0.5].mean()
        usual.append((roc_auc_score(labels, scores), best))
    mean, error = np.mean(within, axis=0), np.std(within, axis=0) / np.sqrt(len(within))
    assert abs(mean[0] - 0.5) < 3 * error[0]
    assert abs(mean[1]) < 3 * error[1]
    assert np.mean(usual, axis=0)[0] < 0.5 - 3 * error[0]
    assert np.mean(usual, axis=0)[1] > 0.1


def test_sums_over_sites_give_the_same() -> None:
    scores, labels, fold = made_up(2, 1.0)
    cells = np.unique(np.round(scores, 1))
    edges = np.concatenate([[-np.inf], cells, [np.inf]])[None]
    rows = Rows(np.round(scores, 1)[:, None], ("m",), labels, fold)
    statistic = FoldScores(folds=FOLDS, edges=edges)
    halves = [statistic.from_rows(rows.at(np.arange(i, 200, 2))) for i in (0, 1)]
    summed = statistic.finalise({"counts": halves[0]["counts"] + halves[1]["counts"]})
    exact = within_folds(exact_scores(np.round(scores, 1), labels, fold, FOLDS))
    assert within_folds(summed).auc[0] == pytest.approx(exact.auc[0], abs=1e-12)
    assert within_folds(summed).confusion.tp[0] == exact.confusion.tp[0]


def test_a_single_class_has_no_area() -> None:
    found = within_folds(exact_scores(np.arange(10.0), np.zeros(10), np.arange(10) % 5, 5))
    assert np.isnan(found.auc).all() and np.isnan(found.confusion.tp).all()
