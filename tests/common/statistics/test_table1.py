from __future__ import annotations

from typing import Any

import numpy as np

from common.statistics.table1 import GroupSums


def test_mean_and_deviation_match_numpy_whatever_the_centre(rows: Any, summed: Any) -> None:
    values = np.random.default_rng(0).normal(60, 9, (90, 2))
    values[::7, 1] = np.nan
    for centre in (0.0, 61.3):
        result = summed(GroupSums(centre=np.full(2, centre)), rows(values))
        np.testing.assert_allclose(result.mean, np.nanmean(values, axis=0), rtol=1e-9)
        np.testing.assert_allclose(result.deviation, np.nanstd(values, axis=0, ddof=1), rtol=1e-7)
        assert result.n.tolist() == [90, np.isfinite(values[:, 1]).sum()]


def test_nobody_has_neither_mean_nor_deviation(rows: Any, summed: Any) -> None:
    result = summed(GroupSums(centre=np.zeros(1)), rows(np.zeros((0, 1))))
    assert np.isnan(result.mean[0])
    assert np.isnan(result.deviation[0])
