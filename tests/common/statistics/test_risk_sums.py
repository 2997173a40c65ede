from __future__ import annotations

import numpy as np
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.util import Surv

from common.statistics.risk_sums import RiskSums
from tests.fixtures.survival import PERIODS, follow_up, over_hospitals, with_scores


def test_the_baseline_hazard_is_that_of_scikit_survival() -> None:
    rows = follow_up(400, 5)
    outcome = Surv.from_arrays(rows.label > 0.5, rows.period)
    model = CoxPHSurvivalAnalysis(ties="breslow").fit(rows.values, outcome)
    scored = with_scores(rows, rows.values @ model.coef_, 0.5 * rows.values @ model.coef_)
    asked = RiskSums(PERIODS, np.arange(PERIODS))
    found = over_hospitals(asked, scored).cumulative_hazard()
    expected = model.cum_baseline_hazard_(np.arange(PERIODS - 1))
    np.testing.assert_allclose(found[0], expected, rtol=1e-9)
    assert (np.diff(found[1]) >= 0).all()
