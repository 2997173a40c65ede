"""The quantile that is written down."""

from __future__ import annotations

from scipy import stats

from common.utils.portable import Z_95


def test_the_quantile_is_scipys_to_the_last_bit() -> None:
    assert float(stats.norm.ppf(0.975)) == Z_95
