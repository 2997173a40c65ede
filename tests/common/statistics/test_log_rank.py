from __future__ import annotations

import numpy as np
import pytest
from statsmodels.duration.survfunc import survdiff

from common.evaluation.follow_up import log_rank_within
from common.statistics.log_rank import LogRank
from tests.fixtures.survival import PERIODS, follow_up, over_hospitals, with_scores

CUTS = np.array([[-0.4, 0.6]])


@pytest.mark.parametrize("seed", range(4))
def test_the_test_within_hospitals_is_statsmodels_stratified_test(seed: int) -> None:
    rows = follow_up(400, seed=seed, events=0.15)
    scored = with_scores(rows, rows.values[:, 3])
    (found,) = log_rank_within(over_hospitals(LogRank(CUTS, PERIODS), scored))
    group = np.digitize(scored.values[:, 0], CUTS[0])
    statistic, p = survdiff(rows.period, rows.label, group, strata=rows.origin)
    assert found.degrees == 2
    assert found.statistic == pytest.approx(statistic, rel=1e-9)
    assert found.p == pytest.approx(p, rel=1e-9)


def test_a_reference_that_holds_all_hospitals_tests_within_them() -> None:
    rows = follow_up(300)
    scored = with_scores(rows, rows.values[:, 3])
    question = LogRank(CUTS, PERIODS)
    pooled = question.finalise(question.from_rows(scored))
    summed = over_hospitals(question, scored)
    np.testing.assert_allclose(pooled.difference, summed.difference, atol=1e-12)
    np.testing.assert_allclose(pooled.covariance, summed.covariance, atol=1e-12)
