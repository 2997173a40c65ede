"""Scores by fold, class and cell: measures of the training patients that no fold shares."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from common.messages.plain import plain
from common.statistics.base import Float, Rows, Sums
from common.statistics.exact import complete, matches
from common.statistics.histogram import cell_counts


@plain
class FoldScoresResult:
    """Edges (k, cells + 1) and counts (folds, k, 2, cells), the negatives, then the positives."""

    edges: Float
    counts: Float


@plain
class FoldScores:
    """Scores of each class per cell for every column (one per model), in each of `folds` folds.

    Rows with fold -1 are left out. See `common.evaluation.within_folds`.

    Parameters
    ----------
    edges : (k, cells + 1), not decreasing; end cells reach to infinity.

    Examples
    --------
    >>> scores, label = np.array([[0.1], [0.4], [0.7]]), np.array([0.0, 0.0, 1.0])
    >>> rows = Rows(scores, ("model",), label, np.array([0, 1, 1]))
    >>> scores_by_fold = FoldScores(folds=2, edges=np.array([[0.0, 0.5, 1.0]]))
    >>> scores_by_fold.finalise(scores_by_fold.from_rows(rows)).counts[:, 0].tolist()
    [[[1.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]]
    """

    folds: int
    edges: Float

    final: ClassVar[bool] = True
    kind: ClassVar[str] = "score_histogram"
    step: ClassVar[dict[str, float]] = {"counts": 0.5}
    tally: ClassVar[dict[str, str]] = {}
    about: ClassVar[str] = (
        "For each model and fold, training patients of either outcome in each interval of the"
        " out-of-fold score: areas of pairs within a fold, and cut-offs judged on another fold."
        " And the same of the final model's score of the patients it was fitted on."
    )
    attack: ClassVar[str] = (
        "Like the same intervals over all folds: one can hold a single patient of all hospitals,"
        " and the coordinator then knows that someone of this outcome and fold has a score in it,"
        " not who or where. Hospitals never see it."
    )
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"counts": ("folds", "models", "2", "cells")}

    def shapes(self, p: int) -> dict[str, tuple[int, ...]]:
        """Declare folds by columns by two classes by cells."""
        return {"counts": (self.folds, p, 2, self.edges.shape[1] - 1)}

    def from_rows(self, rows: Rows) -> Sums:
        """Return the site's counts; ValueError on missing scores or a fold number too high."""
        matches(self.edges, rows, "edges")
        scores, positive = complete(rows), rows.label > 0.5
        if rows.n and rows.fold.max() >= self.folds:
            raise ValueError(f"fold {rows.fold.max()} of {self.folds}")
        counts = np.zeros(self.shapes(rows.p)["counts"])
        for fold in range(self.folds):
            for label in (0, 1):
                own = scores[(rows.fold == fold) & (positive == bool(label))]
                for column, edges in enumerate(self.edges):
                    counts[fold, column, label] = cell_counts(own[:, column], edges)
        return {"counts": counts}

    def finalise(self, sums: Sums) -> FoldScoresResult:
        """Return the counts over all sites."""
        return FoldScoresResult(edges=self.edges, counts=sums["counts"])
