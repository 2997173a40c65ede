"""What Table 1 asks for: means, medians and level counts of every set of patients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from common.dossier.asked import Asked, Phase, sums
from common.learning.quantile_cells import MOST_CELLS, ROUNDS
from common.statistics.counts import LevelCounts
from common.statistics.histogram import Histogram
from common.statistics.moments import Means
from common.statistics.site_quartiles import SiteQuartiles
from common.statistics.table1 import GroupSums, JoinedHistogram, ProtectedLevelCounts
from common.study.model import Study


def table1(study: Study) -> Phase:
    """The phase; median columns take as many rounds and cells as they may need."""
    numbers = [c for c in study.clinical if c.kind == "continuous"]
    means = [c for c in numbers if c.summary == "mean"]
    recorded = [c for c in numbers if c.summary == "median" and c.decimals is not None]
    grouped = [c for c in numbers if c.summary == "median" and c.decimals is None]
    levels = [len(c.levels) for c in study.clinical if c.kind != "continuous"]
    asked: list[Asked] = []
    if means:
        asked.append(sums(study, Means(), len(means)))
    subsets = ("train", *(test.name for test in study.test_sets))
    for subset in subsets:
        if means:
            group = GroupSums(centre=np.zeros(len(means)))
            asked.append(sums(study, group, len(means), subset))
        for columns in (recorded, grouped):
            if columns:
                asked.extend(_medians(study, len(columns), subset, recorded=columns is recorded))
        if levels:
            asked.append(_levels(study, len(levels), max(levels), subset))
    rounds = 2 if means else 1 if levels else 0
    if recorded or grouped:
        rounds = ROUNDS + any(_joined(study, name, recorded=not grouped) for name in subsets)
    return Phase("table1", "Table 1: the sets of patients side by side", rounds, tuple(asked))


def _alone(study: Study, subset: str) -> bool:
    return len(study.members(subset)) == 1


def _joined(study: Study, subset: str, *, recorded: bool) -> bool:
    """Tell whether small cells are joined before a histogram leaves a hospital."""
    seen = _alone(study, subset) or not (recorded or study.masked(subset))
    return seen and study.privacy.min_cell > 1


def _medians(study: Study, columns: int, subset: str, *, recorded: bool) -> Iterator[Asked]:
    edges, minimum = np.zeros((columns, MOST_CELLS + 1)), study.privacy.min_cell
    if not _joined(study, subset, recorded=recorded):
        yield sums(study, Histogram(edges=edges), columns, subset, rounds=ROUNDS)
        return
    if _alone(study, subset):
        yield sums(study, site_quartiles(study, columns), columns, subset)
    rounds = ROUNDS + 1 if subset == "train" else 1
    joined = JoinedHistogram(edges=edges, minimum=minimum)
    yield sums(study, joined, columns, subset, rounds=rounds)


def site_quartiles(study: Study, columns: int) -> SiteQuartiles:
    """The question for quartiles that a single hospital computes."""
    privacy = study.privacy
    return SiteQuartiles(
        decimals=np.zeros(columns, dtype=np.int64),
        fewest=privacy.min_rows,
        minimum=privacy.min_cell,
    )


def _levels(study: Study, columns: int, levels: int, subset: str) -> Asked:
    protected = ProtectedLevelCounts(levels=levels, minimum=study.privacy.min_cell)
    statistic = protected if _alone(study, subset) else LevelCounts(levels=levels)
    return sums(study, statistic, columns, subset)
