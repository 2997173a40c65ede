"""What is asked for areas within the levels of the study's strata."""

from __future__ import annotations

import numpy as np

from common.dossier.asked import Asked, sums
from common.dossier.plan_table1 import site_quartiles
from common.learning.quantile_cells import MOST_CELLS as QUANTILE_CELLS
from common.learning.quantile_cells import ROUNDS
from common.statistics.class_histogram import MOST_CELLS, ClassCells, ClassHistogram
from common.statistics.histogram import Histogram
from common.statistics.placements import Placements
from common.statistics.table1 import JoinedHistogram
from common.study.model import Study
from common.study.strata import is_cut, most_levels, strata_columns


def strata_cuts(study: Study) -> tuple[tuple[Asked, ...], int]:
    """Medians of the columns that are cut, and the rounds they take."""
    width = sum(is_cut(column) for column in strata_columns(study))
    if not width:
        return (), 0
    if len(study.members("train")) == 1 and study.privacy.min_cell > 1:
        joined = JoinedHistogram(
            edges=np.zeros((width, QUANTILE_CELLS + 1)), minimum=study.privacy.min_cell
        )
        return (
            sums(study, joined, width, rounds=ROUNDS),
            sums(study, site_quartiles(study, width), width),
        ), ROUNDS
    histogram = Histogram(edges=np.zeros((width, QUANTILE_CELLS + 1)))
    return (sums(study, histogram, width, rounds=ROUNDS),), ROUNDS


def strata_over_sites(study: Study, models: int) -> tuple[tuple[Asked, ...], int]:
    """Counts, coarse histograms and placements a level, of masked sets; and the rounds."""
    levels = sum(most_levels(column) for column in strata_columns(study))
    subsets = [test.name for test in study.test_sets if study.masked(test.name)]
    if not levels or not subsets:
        return (), 0
    edges, counts = np.zeros((models, MOST_CELLS + 1)), np.zeros((models, MOST_CELLS))
    cells = ClassCells(edges=edges, counts=counts, lower=counts, upper=counts)
    one_cell = ClassHistogram(edges=np.zeros((models, 2)))
    fine = ClassHistogram(edges=edges)
    placements = Placements(edges=edges, single=counts, negatives=cells, positives=cells)
    asked: list[Asked] = []
    for subset in subsets:
        asked.append(sums(study, fine, models, subset))
        for statistic in (one_cell, fine, placements):
            asked.append(sums(study, statistic, models, subset, tables=levels))
    return tuple(asked), 3
