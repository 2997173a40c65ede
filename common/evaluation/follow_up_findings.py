"""All measures of a time to event on one set, from its sums or from rows of one hospital."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np

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
from common.evaluation.joined_scores import AREA_DECIMALS, joined_ranks
from common.messages.limits import Limits, Patients, shares
from common.messages.plain import plain
from common.statistics.base import Float, Int, Rows
from common.statistics.follow_up import LifeTable, LifeTableResult
from common.statistics.log_rank import LogRank, LogRankResult
from common.statistics.placements import DeLongResult
from common.statistics.ranked_pairs import RankedPairs, RankedPairsResult

LARGEST = 1e9


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
    patients: Patients
    events: Patients
    shown: bool
    harrell: Annotated[Float, shares("models", 2, unknown=True)]
    uno: Annotated[Float, shares("models", 2, unknown=True)]
    areas: Annotated[Float, shares("models", "horizons", 2, unknown=True)]
    groups: tuple[GroupedFollowUp, ...]
    tests: Annotated[Float, Limits(("models", 2), low=0, high=LARGEST, unknown=True)]
    within: Annotated[Float, Limits(("models", 2), low=0, high=LARGEST, unknown=True)]
    calibration: tuple[RiskCalibration, ...] = ()


def findings_of(
    subset: str,
    last: Int,
    minimum: int,
    edges: Float,
    table: LifeTableResult,
    within: LogRankResult,
    pairs: RankedPairsResult,
) -> FollowUpFindings:
    """Return the measures of k models from a set's sums.

    Parameters
    ----------
    last : int64 (horizons,), last period before each horizon.
    minimum : fewest patients of a count that is shown.
    edges : (k, cells + 1), of the risk.
    """
    events, censored = table.events[0].sum(axis=0), table.censored[0].sum(axis=0)
    happened, seen = round(float(events.sum())), round(float(censored.sum()))
    if min(happened, seen) < max(minimum, 1):
        return without_measures(subset, happened + seen, happened, len(table.events), last.size)
    uncensored = remaining_uncensored(events, censored)
    return FollowUpFindings(
        subset=subset,
        patients=happened + seen,
        events=happened,
        shown=True,
        **_of_pairs(pairs, last, uncensored),
        groups=join_periods(table.events, table.censored, minimum),
        tests=_tests(log_rank(table)),
        within=_tests(log_rank_within(within)),
        calibration=tuple(
            calibration_at(own, lost, ends, int(last[0]), minimum)
            for own, lost, ends in zip(pairs.events, pairs.censored, edges, strict=True)
        ),
    )


def without_measures(
    subset: str, patients: int, events: int, models: int, horizons: int
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
        areas=np.full((models, horizons, 2), np.nan),
        groups=(),
        tests=nothing,
        within=nothing,
    )


def _tests(found: Sequence[GroupTest]) -> Float:
    return np.array([[one.statistic, one.p] for one in found])


def measure_locally(
    rows: Rows, subset: str, cuts: Float, edges: Float, last: Int, periods: int, minimum: int
) -> FollowUpFindings:
    """Return the measures of a hospital's own rows, as far as they may leave it.

    Concordance and areas take the patients of neighbouring ranks as tied, at least `minimum` in
    each group (`joined_areas`), and have three decimals, as predicted and observed risks have.
    Curves are of joined periods and groups without a count from 1 to `minimum` - 1, and the tests
    compare these counts.

    Parameters
    ----------
    rows : risks (n, k), labels and periods. cuts : (k,), from which on a risk is high.
    edges : (k, cells + 1), of the risk. last : last period before each horizon.
    minimum : up to 1 gives the exact measures, for the hospital's own eyes.

    Raises
    ------
    ValueError : missing risks, or a period beyond `periods`.
    """
    rows = Rows(**{**vars(rows), "origin": None})
    table, within = LifeTable(cuts[:, None], periods), LogRank(cuts[:, None], periods)
    by_cell = RankedPairs(edges, periods, last)
    found = findings_of(
        subset,
        last,
        minimum,
        edges,
        table.finalise(table.from_rows(rows)),
        within.finalise(within.from_rows(rows)),
        by_cell.finalise(by_cell.from_rows(rows)),
    )
    if not found.shown:
        return found
    ranked, steps = _ranked(rows, minimum)
    by_rank = RankedPairs(steps, periods, last)
    pairs = by_rank.finalise(by_rank.from_rows(ranked))
    happened, seen = pairs.events[0].sum(axis=0), pairs.censored[0].sum(axis=0)
    own = _of_pairs(pairs, last, remaining_uncensored(happened, seen))
    if minimum <= 1:
        return replace(found, **own)
    tests = np.array([_joined_test(group) for group in found.groups])
    return replace(
        found,
        **{name: np.round(value, AREA_DECIMALS) for name, value in own.items()},
        tests=tests,
        within=tests,
        calibration=tuple(_rounded(one) for one in found.calibration),
    )


def _ranked(rows: Rows, minimum: int) -> tuple[Rows, Float]:
    """Return the rows with groups of neighbouring ranks for risks, and edges between all groups."""
    groups = joined_ranks(rows.values, max(minimum, 1))
    most = int(groups.max(initial=0.0))
    steps = np.tile(np.arange(-1, most + 1) + 0.5, (rows.p, 1))
    return Rows(**{**vars(rows), "values": groups}), steps


def _of_pairs(pairs: RankedPairsResult, last: Int, uncensored: Float) -> dict[str, Any]:
    weights = np.where(uncensored > 0, uncensored, np.inf) ** -2.0
    harrell, uno = concordance(pairs), concordance(pairs, weights)
    areas = areas_at(pairs, last, uncensored)
    return {
        "harrell": np.column_stack([harrell.value, harrell.error]),
        "uno": np.column_stack([uno.value, uno.error]),
        "areas": np.stack([areas.value, areas.error], axis=2),
    }


def _joined_test(group: GroupedFollowUp) -> tuple[float, float]:
    """Return the log-rank test of two groups' curves in joined periods; NaN without any."""
    if not group.last.size:
        return float("nan"), float("nan")
    joined = LifeTableResult(group.events[None], group.censored[None])
    (test,) = log_rank(joined)
    return test.statistic, test.p


def _rounded(found: RiskCalibration) -> RiskCalibration:
    names = ("predicted", "observed", "low", "high", "whole")
    return replace(found, **{n: np.round(getattr(found, n), AREA_DECIMALS) for n in names})


def check_consistent(found: FollowUpFindings, periods: int, models: int) -> None:
    """Raise ValueError where measures contradict each other, or the grid has no such period."""
    if not (found.shown and 0 < found.events < found.patients):
        raise ValueError("no measures, or patients with one outcome")
    if {len(found.groups), len(found.calibration)} != {models}:
        raise ValueError("measures of another number of models")
    for group in found.groups:
        last, events, censored = group.last, group.events, group.censored
        if events.shape != censored.shape or events.shape[0] != 2:
            raise ValueError("other groups than those of low and high risk")
        if last.size and not (last[0] >= 0 and last[-1] < periods and (np.diff(last) > 0).all()):
            raise ValueError("periods that are not those of the grid")
        if last.size and (events.sum(), (events + censored).sum()) != (
            found.events,
            found.patients,
        ):
            raise ValueError("groups of other patients")
    for one in found.calibration:
        if one.n.sum() > found.patients or not one.n.size:
            raise ValueError("risks of more patients than there are")
    tests = np.stack([found.tests[:, 1], found.within[:, 1]])
    if (tests > 1.0).any():
        raise ValueError("a p value that is none")


def areas_of(found: FollowUpFindings, horizon: int = 0) -> DeLongResult:
    """Return the areas at a horizon, given by its place, as those of a hospital's patients."""
    auc, error = found.areas[:, horizon].T
    return DeLongResult(found.patients, found.events, auc, np.diag(error**2))
