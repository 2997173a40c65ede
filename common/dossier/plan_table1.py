"""What Table 1 asks for: means, medians and level counts of every set of patients."""

from __future__ import annotations

import numpy as np

from common.dossier.asked import Asked, Phase, sums
from common.evaluation.recorded import MOST_CELLS
from common.statistics.counts import LevelCounts
from common.statistics.histogram import Histogram
from common.statistics.moments import Means
from common.statistics.table1 import GroupSums, JoinedHistogram, ProtectedLevelCounts
from common.study import Study

# as the coordinator's phase has it
MOST_GROUPED_CELLS = 64


def table1(study: Study) -> Phase:
    """The phase; median columns are counted in as many cells as they may need."""
    numbers = [c for c in study.clinical if c.kind == "continuous"]
    means = [c for c in numbers if c.summary == "mean"]
    recorded = [c for c in numbers if c.summary == "median" and c.decimals is not None]
    grouped = [c for c in numbers if c.summary == "median" and c.decimals is None]
    levels = [len(c.levels) for c in study.clinical if c.kind != "continuous"]
    asked: list[Asked] = []
    if means:
        asked.append(sums(study, Means(), len(means)))
    for subset in ("train", *(test.name for test in study.test_sets)):
        for columns in (means, recorded, grouped):
            if columns:
                group = GroupSums(centre=np.zeros(len(columns)))
                asked.append(sums(study, group, len(columns), subset))
        if recorded:
            asked.append(_counts(study, len(recorded), MOST_CELLS, subset, 1))
        if grouped:
            asked.append(_counts(study, len(grouped), MOST_GROUPED_CELLS, subset, 2))
        if levels:
            asked.append(_levels(study, len(levels), max(levels), subset))
    rounds = 3 if grouped else 2 if means or recorded else 1 if levels else 0
    return Phase("table1", "Table 1: the sets of patients side by side", rounds, tuple(asked))


def _alone(study: Study, subset: str) -> bool:
    return len(study.members(subset)) == 1


def _counts(study: Study, columns: int, cells: int, subset: str, rounds: int) -> Asked:
    edges = np.zeros((columns, cells + 1))
    minimum = study.privacy.min_cell
    joined = _alone(study, subset) and minimum > 1
    statistic = JoinedHistogram(edges=edges, minimum=minimum) if joined else Histogram(edges=edges)
    return sums(study, statistic, columns, subset, rounds=rounds)


def _levels(study: Study, columns: int, levels: int, subset: str) -> Asked:
    protected = ProtectedLevelCounts(levels=levels, minimum=study.privacy.min_cell)
    statistic = protected if _alone(study, subset) else LevelCounts(levels=levels)
    return sums(study, statistic, columns, subset)
