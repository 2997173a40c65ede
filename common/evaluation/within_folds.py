"""Out-of-fold measures that compare patients of one fold alone.

Two patients of different folds are scored by two models, each of which learnt from the other
patient. Without any signal a model that learnt of a negative patient's value calls such values
negative, so that across folds the AUC lies below 0.5; within a fold its mean is 0.5 (Airola et al.
2011, Comput Stat Data Anal 55:1828-1844). A cut-off that is the best of the patients it is then
judged on is optimistic; here each fold is judged at the cut-off that is best on the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.evaluation.roc import roc_from_histogram, youden
from common.statistics.base import Float, Int
from common.statistics.fold_scores import FoldScoresResult
from common.statistics.scores import ConfusionResult


@dataclass(frozen=True)
class WithinFolds:
    """Areas and their variances (k,), and the confusion at cut-offs from the other folds."""

    auc: Float
    variance: Float
    confusion: ConfusionResult


def exact_scores(scores: Float, labels: Float, fold: Int, folds: int) -> FoldScoresResult:
    """Count scores (n,) of one model by fold and class, with a cell for each distinct score."""
    distinct, place = np.unique(scores, return_inverse=True)
    cell = (2 * fold + (labels > 0.5)) * distinct.size + place
    counts = np.bincount(cell, minlength=2 * folds * distinct.size).astype(np.float64)
    return FoldScoresResult(
        edges=np.append(distinct, np.inf)[None], counts=counts.reshape(folds, 1, 2, distinct.size)
    )


def within_folds(found: FoldScoresResult) -> WithinFolds:
    """Measure k models by pairs within folds, and at cut-offs chosen on the other folds.

    The area is the share of pairs won over all folds, a tie as one half. Its variance is DeLong's
    of each fold, with one variance of the placements for all folds, as one fold has few patients.

    Examples
    --------
    >>> scores, labels = np.array([0.1, 0.3, 0.2, 0.7]), np.array([0.0, 1.0, 1.0, 0.0])
    >>> within_folds(exact_scores(scores, labels, np.array([0, 0, 1, 1]), 2)).auc
    array([0.5])
    """
    k = found.counts.shape[1]
    pairs = [_area(found.counts[:, column]) for column in range(k)]
    called = [_confusion(found.edges[column], found.counts[:, column]) for column in range(k)]
    auc, variance = np.array(pairs).reshape(k, 2).T
    tp, tn, fp, fn = np.array(called).reshape(k, 4).T
    return WithinFolds(auc, variance, ConfusionResult(tp=tp, tn=tn, fp=fp, fn=fn))


def _area(counts: Float) -> tuple[float, float]:
    """Return area and variance of counts (folds, 2, cells); NaN without a pair in a fold."""
    negatives, positives = counts.sum(axis=2).T
    pairs = negatives * positives
    if pairs.sum() < 1:
        return float("nan"), float("nan")
    won, spread, degrees = 0.0, np.zeros(2), np.zeros(2)
    for own in counts[pairs > 0]:
        n = own.sum(axis=1)
        below = (np.cumsum(own, axis=1) - 0.5 * own) / n[:, None]
        placements = (1.0 - below[1], below[0])  # of negatives, of positives
        auc = float(own[1] @ placements[1] / n[1])
        won += auc * n[0] * n[1]
        spread += [own[i] @ np.square(placements[i] - auc) for i in (0, 1)]
        degrees += n - 1.0
    share, used = pairs / pairs.sum(), pairs > 0
    if degrees.min() < 1:
        return won / pairs.sum(), float("nan")
    each = spread[0] / degrees[0] / negatives[used] + spread[1] / degrees[1] / positives[used]
    return won / pairs.sum(), float(np.square(share[used]) @ each)


def _confusion(edges: Float, counts: Float) -> Float:
    """Return tp, tn, fp, fn (4,) of counts (folds, 2, cells), each fold at the others' cut-off.

    Where the others lack a class, it is the cut-off of all; NaN where all do.
    """
    whole, found = counts.sum(axis=0), np.zeros(4)
    if whole.sum(axis=1).min() < 1:
        return np.full(4, np.nan)
    for own in counts:
        others = whole - own
        if others.sum(axis=1).min() < 1:
            others = whole
        called = edges[:-1] >= youden(roc_from_histogram(edges, others))
        high = own[:, called].sum(axis=1)
        low = own.sum(axis=1) - high
        found += [high[1], low[0], high[0], low[1]]
    return found
