"""ROC curves and the cut-off of Youden's index; a score at the cut-off counts as positive."""

from __future__ import annotations

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float


@plain
class RocCurve:
    """Points from (0, 0) to (1, 1), and the cut-off of each; the first cut-off is +infinity."""

    fpr: Float
    tpr: Float
    cutoff: Float


def roc_points(scores: Float, labels: Float) -> RocCurve:
    """Return the exact curve, one point for each distinct score (n,) and one before them.

    Raises
    ------
    ValueError : only one class, or scores that are not finite.

    Examples
    --------
    >>> curve = roc_points(np.array([0.1, 0.6, 0.4, 0.9]), np.array([0.0, 0.0, 1.0, 1.0]))
    >>> curve.fpr, curve.tpr
    (array([0. , 0. , 0.5, 0.5, 1. ]), array([0. , 0.5, 0.5, 1. , 1. ]))
    """
    positive = labels > 0.5
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    distinct, place = np.unique(scores, return_inverse=True)
    counts = np.zeros((2, distinct.size))
    for label in (0, 1):
        counts[label] = np.bincount(place[positive == bool(label)], minlength=distinct.size)
    return _curve(counts, np.append(distinct, np.inf))


def roc_from_histogram(edges: Float, counts: Float) -> RocCurve:
    """Return the curve through the edges (cells + 1,) of counts (2, cells), negatives first.

    Empty cells add no point, so that a cut-off lies at the lower edge of a cell with rows.

    Raises
    ------
    ValueError : only one class.

    Examples
    --------
    >>> counts = np.array([[4.0, 1.0], [0.0, 5.0]])
    >>> roc_from_histogram(np.array([0.0, 0.5, 1.0]), counts).fpr
    array([0. , 0.2, 1. ])
    """
    filled = counts.any(axis=0)
    return _curve(counts[:, filled], np.append(edges[:-1][filled], np.inf))


def _curve(counts: Float, cutoff: Float) -> RocCurve:
    totals = counts.sum(axis=1)
    if (totals <= 0).any():
        raise ValueError("a curve needs rows of both classes")
    above = np.cumsum(counts[:, ::-1], axis=1) / totals[:, None]
    return RocCurve(
        fpr=np.concatenate([[0.0], above[0]]),
        tpr=np.concatenate([[0.0], above[1]]),
        cutoff=cutoff[::-1].copy(),
    )


def youden(curve: RocCurve) -> float:
    """Return the cut-off of the largest sensitivity + specificity - 1, the highest on a tie."""
    index = curve.tpr - curve.fpr
    # equal heights differ by rounding, as rates are quotients
    return float(curve.cutoff[np.flatnonzero(index >= index.max() - 1e-12)[0]])


def youden_cutoff(scores: Float, labels: Float) -> float:
    """Return the exact Youden cut-off: one of the scores, or +infinity when none beats chance.

    Raises
    ------
    ValueError : only one class, or scores that are not finite.

    Examples
    --------
    >>> youden_cutoff(np.array([0.1, 0.6, 0.4, 0.9]), np.array([0.0, 0.0, 1.0, 1.0]))
    0.9
    """
    return youden(roc_points(scores, labels))
