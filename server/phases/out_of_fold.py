"""Cut-offs and edges of models from sums over their out-of-fold probabilities."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from common.evaluation.roc import RocCurve, roc_from_histogram
from common.learning.quantile_cells import probability_quantiles
from common.messages.exchanges import SumItem
from common.statistics.base import Float
from common.statistics.class_histogram import (
    QUANTILES,
    ClassHistogram,
    ClassHistogramResult,
    score_edges,
)
from common.statistics.fold_scores import FoldScores, FoldScoresResult
from common.statistics.histogram import Histogram
from common.transforms.views import View
from server.phases.decision import side_by_side
from server.phases.protocol import Federation

CELLS: Float = np.linspace(0.0, 1.0, 101)


def cells_of(models: int) -> Histogram:
    """Return the question for the probabilities of so many models, in cells of a hundredth."""
    return Histogram(edges=np.tile(CELLS, (models, 1)))


def curves_of(
    federation: Federation, views: Mapping[str, View], quantiles: Float
) -> tuple[dict[str, RocCurve], dict[str, Float], FoldScoresResult]:
    """Find the ROC curve of each view, and quantiles of its probabilities; one round.

    The third result are the same scores by fold, which only the coordinator has; see
    `common.evaluation.within_folds`. `quantiles` are those known of the first views.
    """
    names = tuple(views)
    unknown = np.zeros((len(names) - len(quantiles), quantiles.shape[1]))
    edges, joined = score_edges(np.vstack([quantiles, unknown])), side_by_side(views, names)
    by_fold = FoldScores(folds=federation.study.folds, edges=edges)
    found: ClassHistogramResult
    found, scores = federation.sum_many(
        [SumItem(ClassHistogram(edges=edges), joined, "train"), SumItem(by_fold, joined, "train")]
    )
    tails = probability_quantiles(found.edges, found.counts.sum(axis=1), QUANTILES)
    curves = {
        name: roc_from_histogram(edges, counts)
        for name, edges, counts in zip(names, found.edges, found.counts, strict=True)
    }
    return curves, dict(zip(names, tails, strict=True)), scores
