"""Measures of a time to event: survival by risk group, concordance, areas at each horizon.

All measures of a set follow from one round of sums by period, on which no later question depends:
they stay at the coordinator. A set at fewer than three hospitals is withheld, as sums over it are
not masked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from common.dossier.disclosure import Disclosure, sum_disclosure
from common.evaluation.follow_up import (
    GroupedFollowUp,
    GroupTest,
    RiskCalibration,
    areas_at,
    calibration_at,
    concordance,
    join_periods,
    log_rank,
    log_rank_within,
    remaining_uncensored,
)
from common.messages.exchanges import SumItem
from common.messages.plain import plain
from common.statistics.base import Float
from common.statistics.class_histogram import QUANTILES
from common.statistics.follow_up import LifeTable, LifeTableResult
from common.statistics.log_rank import LogRank, LogRankResult
from common.statistics.ranked_pairs import RankedPairs, RankedPairsResult
from common.study.follow_up import FollowUp
from common.study.model import Study
from common.transforms.views import View
from server.phases.protocol import Federation, any_unread

CELLS = QUANTILES.size + 1
"""Cells of the risk on which patients of two hospitals are compared."""


@plain
class FollowUpFindings:
    """Measures of k models on one set.

    Parameters
    ----------
    subset : "train" (out-of-fold risks) or a test set.
    patients, events : over all its sites.
    shown : False where too few patients had the event, or were seen without it; the rest is empty.
    harrell, uno : (k, 2), concordance and its standard error.
    areas : (k, horizons, 2), area at each horizon and its standard error.
    groups : by model, follow-up of patients of low and of high risk.
    tests : (k, 2), log-rank statistic and p of these groups.
    within : (k, 2), the same within hospitals.
    calibration : by model, predicted and observed risks by the first horizon.
    """

    subset: str
    patients: int
    events: int
    shown: bool
    harrell: Float
    uno: Float
    areas: Float
    groups: tuple[GroupedFollowUp, ...]
    tests: Float
    within: Float
    calibration: tuple[RiskCalibration, ...] = ()


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
    return tuple(
        _findings(subset, grid, minimum, edges, *found[size * i : size * i + size])
        for i, subset in enumerate(subsets)
    )


def _questions(grid: FollowUp, cuts: Float, edges: Float) -> tuple[LifeTable, LogRank, RankedPairs]:
    periods, last = grid.periods, np.array(grid.last_periods, dtype=np.int64)
    return LifeTable(cuts, periods), LogRank(cuts, periods), RankedPairs(edges, periods, last)


def follow_up_asks(study: Study, models: int, subset: str) -> tuple[Disclosure, ...]:
    """Declare what `measure_follow_up` asks of one set."""
    asked = _questions(study.time_grid, np.zeros((models, 1)), np.zeros((models, CELLS + 1)))
    return tuple(sum_disclosure(study, statistic, models, subset) for statistic in asked)


def _findings(
    subset: str,
    grid: FollowUp,
    minimum: int,
    edges: Float,
    table: LifeTableResult,
    within: LogRankResult,
    pairs: RankedPairsResult,
) -> FollowUpFindings:
    events, censored = table.events[0].sum(axis=0), table.censored[0].sum(axis=0)
    happened, seen = round(float(events.sum())), round(float(censored.sum()))
    if min(happened, seen) < max(minimum, 1):
        return without_measures(subset, happened + seen, happened, len(table.events), grid)
    uncensored = remaining_uncensored(events, censored)
    weights = np.where(uncensored > 0, uncensored, np.inf) ** -2.0
    last = np.array(grid.last_periods, dtype=np.int64)
    areas = areas_at(pairs, last, uncensored)
    harrell, uno = concordance(pairs), concordance(pairs, weights)
    return FollowUpFindings(
        subset=subset,
        patients=happened + seen,
        events=happened,
        shown=True,
        harrell=np.column_stack([harrell.value, harrell.error]),
        uno=np.column_stack([uno.value, uno.error]),
        areas=np.stack([areas.value, areas.error], axis=2),
        groups=tuple(
            join_periods(own, lost, minimum)
            for own, lost in zip(table.events, table.censored, strict=True)
        ),
        tests=_tests(log_rank(table)),
        within=_tests(log_rank_within(within)),
        calibration=tuple(
            calibration_at(own, lost, ends, grid.last_periods[0], minimum)
            for own, lost, ends in zip(pairs.events, pairs.censored, edges, strict=True)
        ),
    )


def without_measures(
    subset: str, patients: int, events: int, models: int, grid: FollowUp
) -> FollowUpFindings:
    """Return the findings on a set of too few patients, or at too few hospitals."""
    nothing = np.full((models, 2), np.nan)
    return FollowUpFindings(
        subset=subset,
        patients=patients,
        events=events,
        shown=False,
        harrell=nothing,
        uno=nothing,
        areas=np.full((models, len(grid.horizons), 2), np.nan),
        groups=(),
        tests=nothing,
        within=nothing,
    )


def _tests(found: Sequence[GroupTest]) -> Float:
    return np.array([[one.statistic, one.p] for one in found])
