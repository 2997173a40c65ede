from __future__ import annotations

import numpy as np
import pytest
from lifelines import KaplanMeierFitter
from lifelines.statistics import multivariate_logrank_test
from sksurv.nonparametric import kaplan_meier_estimator

from common.evaluation.follow_up import (
    calibration_at,
    join_periods,
    kaplan_meier,
    life_table,
    log_rank,
    remaining_uncensored,
)
from common.statistics.base import Rows
from common.statistics.follow_up import LifeTable
from common.statistics.ranked_pairs import RankedPairs
from tests.fixtures.survival import PERIODS, follow_up, over_hospitals, with_scores

CUTS = np.array([[-0.4, 0.6]])


@pytest.fixture(scope="module")
def scored() -> Rows:
    rows = follow_up(500)
    return with_scores(rows, rows.values[:, 3])


def test_curves_and_their_limits_are_those_of_lifelines(scored: Rows) -> None:
    found = over_hospitals(LifeTable(CUTS, PERIODS), scored)
    curve = kaplan_meier(found.events, found.at_risk)
    group = np.digitize(scored.values[:, 0], CUTS[0])
    for place in range(3):
        own = scored.at(np.flatnonzero(group == place))
        fitted = KaplanMeierFitter().fit(own.period, own.label, timeline=np.arange(PERIODS))
        expected = fitted.survival_function_.to_numpy()[:, 0]
        np.testing.assert_allclose(curve.survival[0, place], expected, atol=1e-12)
        limits = fitted.confidence_interval_.to_numpy()
        some = np.isfinite(curve.low[0, place])
        assert some.sum() > PERIODS / 2
        np.testing.assert_allclose(curve.low[0, place][some], limits[some, 0], atol=1e-9)
        np.testing.assert_allclose(curve.high[0, place][some], limits[some, 1], atol=1e-9)


def test_the_test_of_groups_is_that_of_lifelines(scored: Rows) -> None:
    (found,) = log_rank(over_hospitals(LifeTable(CUTS, PERIODS), scored))
    group = np.digitize(scored.values[:, 0], CUTS[0])
    theirs = multivariate_logrank_test(scored.period, group, scored.label)
    assert found.degrees == 2
    assert found.statistic == pytest.approx(theirs.test_statistic, rel=1e-9)
    assert found.p == pytest.approx(theirs.p_value, rel=1e-9)


def test_groups_of_nobody_have_no_test(scored: Rows) -> None:
    far = LifeTable(np.array([[99.0]]), PERIODS)
    (found,) = log_rank(over_hospitals(far, scored))
    assert found.degrees == 0 and np.isnan(found.p)


def test_a_curve_that_ends_at_zero_has_no_limits_there() -> None:
    curve = kaplan_meier(np.array([0.0, 1.0, 1.0]), np.array([3.0, 2.0, 1.0]))
    np.testing.assert_array_equal(curve.survival, [1.0, 0.5, 0.0])
    assert np.isnan(curve.low[[0, 2]]).all() and np.isfinite(curve.high[1])


def test_the_life_table_is_the_published_one_of_angina_pectoris() -> None:
    # 2418 men by years (Lee 1992, Survival Data Analysis; SAS/STAT, LIFETEST)
    events = [456, 226, 152, 171, 135, 125, 83, 74, 51, 42, 43, 34, 18, 9, 6, 0]
    censored = [0, 39, 22, 23, 24, 107, 133, 102, 68, 64, 45, 53, 33, 27, 23, 30]
    published = [0.8114, 0.7170, 0.6524, 0.5786, 0.5193, 0.4611, 0.4172, 0.3712,
                 0.3342, 0.2987, 0.2557, 0.2136, 0.1839, 0.1636, 0.1429, 0.1429]  # fmt: skip
    curve = life_table(np.array(events, dtype=float), np.array(censored, dtype=float))
    np.testing.assert_allclose(curve.survival, published, atol=5e-5)


@pytest.mark.parametrize("few", [1, 200, 500])
def test_a_curve_of_joined_periods_stays_near_that_of_the_times_themselves(few: int) -> None:
    random = np.random.default_rng(7)
    event, leaves = random.exponential(40.0, 4000), random.uniform(0.0, 60.0, 4000)
    time, happened = np.minimum(event, leaves), event <= leaves
    period = np.minimum(time // 3.0, 19).astype(int)
    events, censored = (
        np.bincount(period[own], minlength=20)[None].astype(float) for own in (happened, ~happened)
    )
    (joined,) = join_periods(events[None], censored[None], few)
    ends = 3.0 * (joined.last + 1)
    assert ends.size >= 2
    shown = life_table(joined.events, joined.censored).survival[0]
    exact = KaplanMeierFitter().fit(time, happened).predict(ends)
    np.testing.assert_allclose(shown[:-1], exact[:-1], atol=0.02)


def test_the_chance_of_being_uncensored_is_that_of_scikit_survival(scored: Rows) -> None:
    found = over_hospitals(LifeTable(np.zeros((1, 0)), PERIODS), scored)
    ours = remaining_uncensored(found.events[0, 0], found.censored[0, 0])
    time, theirs = kaplan_meier_estimator(scored.label > 0.5, scored.period, reverse=True)
    ends = np.array([theirs[time <= end][-1] if (time <= end).any() else 1.0 for end in range(11)])
    np.testing.assert_allclose(ours[1:], ends, atol=1e-12)


def test_observed_risks_are_lifelines_in_groups_of_equal_size() -> None:
    rows = follow_up(600, seed=1)
    risk = np.random.default_rng(0).beta(2, 6, rows.n) * 0.6 + 0.3 * rows.label
    scored = with_scores(rows, risk)
    inner = np.quantile(risk, np.arange(1, 50) / 50)
    edges = np.concatenate([[0.0], inner, [1.0]])
    pairs = over_hospitals(RankedPairs(edges[None], PERIODS, np.array([5])), scored)
    found = calibration_at(pairs.events[0], pairs.censored[0], edges, 5, 1)
    assert found.n.sum() == rows.n and found.n.size == 5
    bounds = np.concatenate([[-np.inf], np.sort(risk)[np.cumsum(found.n).astype(int)[:-1]], [2]])
    for place in range(5):
        own = (risk >= bounds[place]) & (risk < bounds[place + 1])
        assert found.predicted[place] == pytest.approx(risk[own].mean(), abs=0.01)
        fitted = KaplanMeierFitter().fit(rows.period[own], rows.label[own])
        assert found.observed[place] == pytest.approx(1 - fitted.predict(5), abs=1e-12)
    assert found.whole[0] == pytest.approx(risk.mean(), abs=0.005)
    everyone = KaplanMeierFitter().fit(rows.period, rows.label)
    assert found.whole[1] == pytest.approx(1 - everyone.predict(5), abs=1e-12)
    some = found.observed > 0
    assert np.isnan(found.low[~some]).all()
    assert (found.low <= found.observed)[some].all() and (found.observed <= found.high)[some].all()
