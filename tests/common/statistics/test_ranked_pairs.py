from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lifelines.utils import concordance_index
from sksurv.metrics import (
    concordance_index_censored,
    concordance_index_ipcw,
    cumulative_dynamic_auc,
)
from sksurv.util import Surv

from common.evaluation.follow_up import areas_at, concordance, remaining_uncensored
from common.statistics.base import Rows
from common.statistics.ranked_pairs import RankedPairs
from tests.fixtures.survival import (
    PERIODS,
    follow_up,
    over_hospitals,
    pairs_by_hand,
    with_scores,
)

HORIZONS = np.array([3, 7, 10])


def scored(n: int = 400, seed: int = 0, decimals: int = 6) -> Rows:
    rows = follow_up(n, seed=seed)
    weights = np.random.default_rng(seed).normal(size=rows.values.shape[1]) + 0.5
    return with_scores(rows, np.round(rows.values @ weights, decimals), rows.values[:, 4])


def question(rows: Rows, cells: int) -> RankedPairs:
    inner = np.quantile(rows.values, np.arange(1, cells) / cells, axis=0).T
    ends = np.full((rows.p, 1), np.inf)
    return RankedPairs(np.hstack([-ends, inner, ends]), PERIODS, HORIZONS)


def exactly(rows: Rows) -> Any:
    """Ask one hospital that holds all patients: pairs are compared exactly."""
    alone = Rows(**{**vars(rows), "origin": None})
    asked = question(rows, 8)
    return asked.finalise(asked.from_rows(alone))


def uncensored(rows: Rows) -> Any:
    assert rows.period is not None
    happened = rows.label > 0.5
    events, censored = (
        np.bincount(rows.period[chosen], minlength=PERIODS) * 1.0
        for chosen in (happened, ~happened)
    )
    return remaining_uncensored(events, censored)


def survival(rows: Rows) -> Any:
    """Return scikit-survival's outcome; events lie before the censorings of their period."""
    assert rows.period is not None
    return Surv.from_arrays(rows.label > 0.5, rows.period + 1.0 - 0.25 * (rows.label > 0.5))


@pytest.mark.parametrize("decimals", [0, 6])
def test_concordance_within_a_hospital_is_that_of_scikit_survival_and_lifelines(
    decimals: int,
) -> None:
    rows = scored(decimals=decimals)
    found = concordance(exactly(rows)).value
    for column in range(2):
        score = rows.values[:, column]
        theirs = concordance_index_censored(rows.label > 0.5, rows.period, score, tied_tol=0)
        assert found[column] == pytest.approx(theirs[0], abs=1e-12)
        other = concordance_index(rows.period, -score, rows.label)
        assert found[column] == pytest.approx(other, abs=1e-12)


def test_concordance_counts_the_pairs_one_by_one() -> None:
    rows = scored(60)
    won, met = pairs_by_hand(rows)
    assert concordance(exactly(rows)).value[0] == pytest.approx(won / met, abs=1e-12)


def test_concordance_weighted_for_censoring_is_that_of_scikit_survival() -> None:
    rows = scored()
    weights = uncensored(rows) ** -2.0
    found = concordance(exactly(rows), weights).value
    for column in range(2):
        theirs = concordance_index_ipcw(
            survival(rows), survival(rows), rows.values[:, column], tied_tol=0
        )
        assert found[column] == pytest.approx(theirs[0], abs=1e-9)


def test_areas_at_horizons_are_those_of_scikit_survival() -> None:
    rows = scored()
    found = areas_at(exactly(rows), HORIZONS, uncensored(rows)).value
    for column in range(2):
        score, outcome = rows.values[:, column], survival(rows)
        theirs, _ = cumulative_dynamic_auc(outcome, outcome, score, HORIZONS + 1.0, tied_tol=0)
        np.testing.assert_allclose(found[column], theirs, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_pairs_of_two_hospitals_cost_little_exactness(seed: int) -> None:
    rows = scored(600, seed)
    summed = over_hospitals(question(rows, 48), rows)
    exact = exactly(rows)
    np.testing.assert_allclose(concordance(summed).value, concordance(exact).value, atol=1e-3)
    ours, theirs = (areas_at(one, HORIZONS, uncensored(rows)).value for one in (summed, exact))
    np.testing.assert_allclose(ours, theirs, atol=3e-3)


def test_cells_that_tell_all_scores_apart_make_all_pairs_exact() -> None:
    rows = scored(400, decimals=0)
    values = np.unique(rows.values[:, 0])
    edges = np.concatenate([[-np.inf], values[1:] - 0.5, [np.inf]])
    rows = with_scores(rows, rows.values[:, 0])
    summed = over_hospitals(RankedPairs(edges[None], PERIODS, HORIZONS), rows)
    exact = RankedPairs(np.array([[-np.inf, np.inf]]), PERIODS, HORIZONS)
    alone = exact.finalise(exact.from_rows(Rows(**{**vars(rows), "origin": None})))
    np.testing.assert_allclose(
        concordance(summed).value, concordance(alone).value, rtol=0, atol=1e-12
    )
    assert not summed.order.any()


def test_standard_errors_are_those_of_the_jackknife() -> None:
    rows = scored(250)
    summed = over_hospitals(question(rows, 60), rows)
    left_out: dict[str, list[Any]] = {"order": [], "area": []}
    for one in range(rows.n):
        others = rows.at(np.flatnonzero(np.arange(rows.n) != one))
        left_out["order"].append(concordance(exactly(others)).value)
        # the weights for censoring are taken as known
        left_out["area"].append(areas_at(exactly(others), HORIZONS, uncensored(rows)).value)
    spread = {
        name: np.sqrt((rows.n - 1) * np.var(values, axis=0)) for name, values in left_out.items()
    }
    np.testing.assert_allclose(concordance(summed).error, spread["order"], rtol=0.03)
    areas = areas_at(summed, HORIZONS, uncensored(rows)).error
    np.testing.assert_allclose(areas, spread["area"], rtol=0.05)


def test_patients_without_events_give_no_estimate() -> None:
    rows = scored(100)
    nobody = Rows(**{**vars(rows), "label": np.zeros(rows.n)})
    assert np.isnan(concordance(exactly(nobody)).value).all()
