"""What a linear model asks for: standardisation, feature selection, LASSO, machine, calibration."""

from __future__ import annotations

import numpy as np

from common.dossier.asked import Asked, sums
from common.learning.platt import PlattFit
from common.statistics.capped_histogram import CappedHistogram
from common.statistics.fold_histogram import FoldHistogram
from common.statistics.gram import FoldGram
from common.statistics.histogram import Histogram
from common.statistics.moments import CentredSquares, Means
from common.statistics.rank_gram import RankGram
from common.statistics.svm import SvmGradient
from common.study.model import Study

# as the coordinator's phases have them
SUPPORT_CELLS = 16
PLATT_ROUNDS = 50


def moments(study: Study, width: int, tables: int) -> tuple[Asked, ...]:
    """Means and deviations; two rounds."""
    squares = CentredSquares(mean=np.zeros(width))
    return (
        sums(study, Means(), width, tables=tables),
        sums(study, squares, width, tables=tables),
    )


def feature_selection(study: Study, width: int, tables: int) -> tuple[Asked, ...]:
    """Rare columns, then the Spearman filter; five rounds."""
    edges = np.zeros((width, study.selection.spearman_bins + 1))
    coarse = np.zeros((width, SUPPORT_CELLS + 1))
    counts = np.zeros((width, study.selection.spearman_bins))
    return (
        sums(study, FoldHistogram(folds=study.folds, edges=coarse), width, tables=tables),
        *rank_cells(study, width, tables, histograms=3),
        sums(study, RankGram(edges=edges, counts=counts), width, tables=tables),
    )


def rank_cells(study: Study, width: int, tables: int, histograms: int = 2) -> tuple[Asked, ...]:
    """Cells that ranks and normal scores are told by: rounds of histograms, and one more."""
    edges = np.zeros((width, study.selection.spearman_bins + 1))
    return (
        sums(study, Histogram(edges=edges), width, tables=tables, rounds=histograms),
        sums(study, CappedHistogram(edges=edges, cap=1), width, tables=tables),
    )


def linear_arm(study: Study, width: int, tables: int) -> tuple[tuple[Asked, ...], int]:
    """LASSO, support vector machines and Platt's scaling; and rounds at most.

    Parameters
    ----------
    width : columns of a table, at most.
    tables : one, or one for every outer problem.
    """
    gram = sums(study, FoldGram(folds=study.folds), width, tables=tables)
    machines, rounds = _machines(study, width, tables)
    fit = PlattFit(positives=1, negatives=1).request()
    platt = sums(study, fit, 1, rounds=PLATT_ROUNDS)
    return (gram, *machines, platt), 1 + rounds + PLATT_ROUNDS


def _machines(study: Study, width: int, tables: int) -> tuple[tuple[Asked, ...], int]:
    """Gradients of all costs and folds, and what a kernel needs before."""
    folds, costs = study.folds, len(study.svm.cost_grid)
    rounds = min(study.svm.max_rounds, study.privacy.max_svm_rounds)
    if study.svm.kernel == "linear":
        # an outer problem without one fold leaves out each other one in turn, or none
        problems = costs * (folds * folds + folds + 1) if tables == 1 else costs * (folds + 1)
        gradient = _gradient(folds, problems, width)
        return (sums(study, gradient, width, tables=tables, rounds=rounds),), rounds
    maps, landmarks = (folds + 1) * len(study.svm.gammas), study.svm.landmarks
    edges = np.zeros((landmarks, SUPPORT_CELLS + 1))
    gradient = _gradient(folds, costs * (folds + 1), landmarks)
    return (
        sums(study, FoldHistogram(folds=folds, edges=edges), landmarks, tables=maps),
        sums(study, FoldGram(folds=folds), landmarks, tables=maps),
        sums(study, gradient, landmarks, tables=maps, rounds=rounds),
    ), 2 + rounds


def _gradient(folds: int, problems: int, width: int) -> SvmGradient:
    return SvmGradient(
        weights=np.zeros((problems, width + 1)),
        excluded=np.zeros((problems, folds)),
        validation=np.zeros(problems, dtype=np.int64),
    )
