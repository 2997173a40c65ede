"""Measures of a time to event: survival by risk group, concordance, areas at each horizon.

All measures of a set follow from one round of sums by period, on which no later question depends:
they stay at the coordinator. Of a set at fewer than three hospitals, over which sums are not
masked, each hospital gives measures of its own patients (`measure_locally`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from common.dossier.disclosure import Disclosure, sum_disclosure
from common.evaluation.follow_up_findings import FollowUpFindings, findings_of
from common.messages.exchanges import SumItem
from common.statistics.base import Float
from common.statistics.class_histogram import QUANTILES
from common.statistics.follow_up import LifeTable
from common.statistics.log_rank import LogRank
from common.statistics.ranked_pairs import RankedPairs
from common.study.follow_up import FollowUp
from common.study.model import Study
from common.transforms.views import View
from server.phases.protocol import Federation, any_unread

CELLS = QUANTILES.size + 1
"""Cells of the risk on which patients of two hospitals are compared."""


def measure_follow_up(
    federation: Federation,
    subsets: Sequence[str],
    names: Sequence[str],
    view: View,
    cutoffs: Mapping[str, float],
    edges: Float,
) -> tuple[FollowUpFindings, ...]:
    """Find every measure of k models on masked sets; one round for all together.

    Parameters
    ----------
    subsets : test sets, or "train" where the view gives out-of-fold risks.
    names : of the k models, in the order of the view's columns.
    cutoffs : by model, of the risk from which a patient belongs to the group of high risk.
    edges : (k, cells + 1), of the risk.
    """
    study = federation.study
    grid = study.time_grid
    cuts = np.array([[cutoffs[name]] for name in names])
    asked = _questions(grid, cuts, edges)
    found = federation.sum_many([SumItem(one, view, subset) for subset in subsets for one in asked])
    if any_unread(found):
        return ()
    size, minimum = len(asked), study.privacy.min_cell
    last = np.array(grid.last_periods, dtype=np.int64)
    return tuple(
        findings_of(subset, last, minimum, edges, *found[size * i : size * i + size])
        for i, subset in enumerate(subsets)
    )


def _questions(grid: FollowUp, cuts: Float, edges: Float) -> tuple[LifeTable, LogRank, RankedPairs]:
    periods, last = grid.periods, np.array(grid.last_periods, dtype=np.int64)
    return LifeTable(cuts, periods), LogRank(cuts, periods), RankedPairs(edges, periods, last)


def follow_up_asks(study: Study, models: int, subset: str) -> tuple[Disclosure, ...]:
    """Declare what `measure_follow_up` asks of one set."""
    asked = _questions(study.time_grid, np.zeros((models, 1)), np.zeros((models, CELLS + 1)))
    return tuple(sum_disclosure(study, statistic, models, subset) for statistic in asked)
