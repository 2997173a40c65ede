"""Limit sums over times: to a study whose endpoint is a time, and to the periods it declares."""

from __future__ import annotations

import numpy as np

from common.disclosure.rule import Rule, SumQuery, declare
from common.statistics.base import Int
from common.statistics.cox import CoxGradient
from common.statistics.follow_up import LifeTable
from common.statistics.log_rank import LogRank
from common.statistics.ranked_pairs import RankedPairs
from common.statistics.risk_sums import RiskSums

OF_TIMES = (CoxGradient, LifeTable, LogRank, RankedPairs, RiskSums)


def check_periods(query: SumQuery) -> str:
    """Refuse sums over times of patients that have none in this study, or on another grid."""
    if not isinstance(query.statistic, OF_TIMES):
        return ""
    grid = query.study.follow_up
    if grid is None or query.rows.period is None:
        return "times in a study without any"
    if query.statistic.periods != grid.periods:
        return "other periods than the study's"
    if isinstance(query.statistic, RiskSums) and not _fit(query.statistic.starts, grid.periods):
        return "starts that are none of periods"
    return ""


def _fit(starts: Int, periods: int) -> bool:
    inside = starts.ndim == 1 and starts.size > 0 and starts[0] == 0 and starts[-1] < periods
    return inside and starts.dtype == np.int64 and bool((np.diff(starts) > 0).all())


declare(
    Rule(
        name="periods",
        protects="the time at which a patient had the event",
        text="A hospital puts the times of its patients on the grid that the study file declares,"
        " before anything is computed of them, and answers by these periods alone; in a study"
        " whose endpoint has no time, not at all.",
        fixed=1.0,
        sums=("follow_up", "ranked_pairs", "gradient"),
        check=check_periods,
        remedy="the same release must run at the coordinator and at every site",
    )
)
