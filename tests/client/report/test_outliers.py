"""Patients unlike the others."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import median_abs_deviation

from client.report.site_report import outliers, robust


def measured(volumes: list[float], between: list[float]) -> dict[str, dict[str, float]]:
    usual = {"in_plane": 0.7, "mean": 60.0, "sd": 20.0}
    return {
        f"p{i}": {**usual, "volume": v, "between": b}
        for i, (v, b) in enumerate(zip(volumes, between, strict=True))
    }


def test_robust_deviations_are_those_of_scipy() -> None:
    values = np.random.default_rng(0).normal(50, 9, 80)
    median, away = robust(values)
    wanted = (values - np.median(values)) / median_abs_deviation(values, scale=1 / 1.4826)
    assert median == np.median(values)
    assert away == pytest.approx(wanted)


def test_a_large_tumour_and_thick_slices_are_named_and_rounding_is_not() -> None:
    volumes = [4.0, 5.0, 6.0, 5.5, 4.5, 90.0]
    between = [1.0, 1.0, 1.001, 1.0, 5.0, 1.0]
    found = {(one.patient, one.measure) for one in outliers(measured(volumes, between))}
    assert found == {("p5", "volume of the ROI, cm3"), ("p4", "distance of slices, mm")}


def test_patients_all_alike_and_none_at_all_have_no_outlier() -> None:
    assert outliers(measured([5.0] * 6, [1.0] * 6)) == []
    assert outliers({}) == []
