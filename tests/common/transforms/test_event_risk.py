from __future__ import annotations

import numpy as np

from common.statistics.base import Rows
from common.transforms import EventRisk


def test_a_risk_is_what_a_hazard_leaves() -> None:
    values = np.array([[-800.0], [-1.0], [0.0], [2.0], [800.0]])
    rows = Rows(values, ("cox",), np.zeros(5), np.zeros(5, dtype=np.int64))
    found = EventRisk(b=-0.5).apply(rows).values[:, 0]
    np.testing.assert_allclose(found[1:4], 1 - np.exp(-np.exp([-1.5, -0.5, 1.5])), rtol=1e-12)
    assert found[0] < 1e-300 and found[4] == 1.0
