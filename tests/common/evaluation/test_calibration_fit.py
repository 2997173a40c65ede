"""Calibration slope and intercepts, against scikit-learn and scipy on pooled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from common.evaluation.calibration_fit import (
    calibration_question,
    fit_grouped,
    fit_rows,
    fit_sums,
)
from common.statistics.base import Rows, add
from common.statistics.calibration import CalibrationSums, logit
from common.statistics.class_histogram import QUANTILES, ClassHistogram, score_edges


def drawn(n: int, slope: float, shift: float, seed: int) -> tuple[Any, Any]:
    """Labels, and probabilities whose logits are stretched and moved."""
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < 0.4).astype(np.float64)
    x = rng.normal(size=n) + 1.3 * label
    return label, scipy.special.expit(shift + slope * (1.3 * x - 1.25))


def table(p: Any, label: Any) -> Rows:
    return Rows(p[:, None], ("model",), label, np.zeros(label.size, dtype=np.int64))


def reference(p: Any, label: Any) -> tuple[float, float, float]:
    """Intercept and slope by scikit-learn, and the intercept of slope 1 by a root of its score."""
    x = scipy.special.logit(p)
    line = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(x[:, None], label)
    large = scipy.optimize.brentq(lambda a: (label - scipy.special.expit(a + x)).sum(), -30, 30)
    return float(line.intercept_[0]), float(line.coef_[0, 0]), float(large)


def over_sites(p: Any, label: Any, edges: Any) -> tuple[Any, CalibrationSums]:
    """The fit from cells and sums of four unequal sites."""
    site = np.arange(label.size) % 7 % 4
    parts = [table(p[site == own], label[site == own]) for own in range(4)]

    def total(statistic: Any) -> Any:
        sums = statistic.from_rows(parts[0])
        for part in parts[1:]:
            sums = add(sums, statistic.from_rows(part))
        return statistic.finalise(sums)

    histogram = total(ClassHistogram(edges=edges))
    asked = calibration_question(histogram)
    return fit_sums(histogram, asked, total(asked)), asked


def edges_of(p: Any) -> Any:
    return score_edges(np.quantile(p, QUANTILES)[None, :])


@pytest.mark.parametrize(("n", "tolerance"), [(300, 1e-5), (89, 1e-3)])
@pytest.mark.parametrize(("slope", "shift"), [(1.0, 0.0), (3.0, 0.5), (1.0, -3.0), (0.3, -1.0)])
def test_fit_over_sites_is_that_of_pooled_rows(
    n: int, tolerance: float, slope: float, shift: float
) -> None:
    label, p = drawn(n, slope, shift, seed=n)
    _, training = drawn(300, slope, shift, seed=1)
    found, asked = over_sites(p, label, edges_of(training))
    intercept, exact, large = reference(p, label)
    assert found.slope[0] == pytest.approx(exact, abs=tolerance)
    assert found.intercept[0] == pytest.approx(intercept, abs=tolerance)
    assert found.large[0] == pytest.approx(large, abs=tolerance)
    assert found.expected[0] == pytest.approx(p.sum(), abs=1e-9)
    assert (found.n, found.positives) == (n, label.sum())
    # the cells alone would err by more, which the sums are asked for
    assert abs(asked.slope[0] - exact) > 20 * abs(found.slope[0] - exact)


def test_few_wide_cells_suffice_as_for_the_levels_of_a_column() -> None:
    label, p = drawn(150, 1.5, 0.3, seed=11)
    inner = np.quantile(p, np.arange(1, 12) / 12)
    found, _ = over_sites(p, label, np.concatenate([[-np.inf], inner, [np.inf]])[None, :])
    intercept, slope, large = reference(p, label)
    exact = fit_rows(table(p, label))
    assert found.slope[0] == pytest.approx(slope, abs=0.05 * exact.slope_error[0])
    assert found.intercept[0] == pytest.approx(intercept, abs=0.05 * exact.intercept_error[0])
    assert found.large[0] == pytest.approx(large, abs=0.05 * exact.large_error[0])
    assert found.slope_error[0] == pytest.approx(exact.slope_error[0], rel=0.1)


def test_standard_errors_are_those_of_the_inverse_information() -> None:
    label, p = drawn(300, 1.5, 0.3, seed=4)
    found = fit_rows(table(p, label))
    x = scipy.special.logit(p)
    design = np.column_stack([np.ones_like(x), x])

    def loss(theta: Any) -> float:
        z = design @ theta
        return float(np.logaddexp(0.0, z).sum() - label @ z)

    theta = np.array([found.intercept[0], found.slope[0]])
    step, eye = 1e-4, np.eye(2)
    curvature = np.array(
        [
            [
                (
                    loss(theta + step * (eye[i] + eye[j]))
                    - loss(theta + step * (eye[i] - eye[j]))
                    - loss(theta - step * (eye[i] - eye[j]))
                    + loss(theta - step * (eye[i] + eye[j]))
                )
                / (4 * step**2)
                for j in range(2)
            ]
            for i in range(2)
        ]
    )
    errors = np.sqrt(np.diag(np.linalg.inv(curvature)))
    assert found.intercept_error[0] == pytest.approx(errors[0], rel=1e-4)
    assert found.slope_error[0] == pytest.approx(errors[1], rel=1e-4)
    fitted = scipy.special.expit(found.large[0] + x)
    assert found.large_error[0] == pytest.approx((fitted * (1 - fitted)).sum() ** -0.5)


@given(
    a=st.floats(-1.5, 1.5), b=st.floats(0.4, 2.5), seed=st.integers(0, 50), n=st.integers(60, 200)
)
@settings(max_examples=20, deadline=None)
def test_stretching_the_logits_divides_the_slope(a: float, b: float, seed: int, n: int) -> None:
    label, p = drawn(n, 1.0, 0.0, seed)
    first = fit_rows(table(p, label))
    again = fit_rows(table(scipy.special.expit(a + b * scipy.special.logit(p)), label))
    assert again.slope[0] == pytest.approx(first.slope[0] / b, rel=1e-6)
    moved = first.intercept[0] - a * first.slope[0] / b
    assert again.intercept[0] == pytest.approx(moved, rel=1e-6, abs=1e-6)


def test_there_is_no_slope_where_scores_separate_the_classes_or_are_all_equal() -> None:
    label = np.repeat([0.0, 1.0], 20)
    for p in (np.linspace(0.1, 0.9, 40), np.full(40, 0.3)):
        found = fit_rows(table(p, label))
        assert np.isnan([found.slope[0], found.intercept[0], found.slope_error[0]]).all()
        assert np.isfinite([found.large[0], found.large_error[0], found.expected[0]]).all()
        spread, _ = over_sites(p, label, edges_of(p))
        assert np.isnan(spread.slope[0])
        assert spread.large[0] == pytest.approx(found.large[0], abs=1e-4)


def test_one_class_alone_has_an_expected_number_and_no_fit() -> None:
    found = fit_rows(table(np.linspace(0.1, 0.9, 12), np.ones(12)))
    assert np.isnan([found.slope[0], found.large[0]]).all()
    assert found.expected[0] == pytest.approx(6.0)


def test_probabilities_of_zero_and_one_count_as_nearly_so() -> None:
    assert logit(np.array([0.0, 1.0])) == pytest.approx([-18.42, 18.42], abs=0.01)
    label = np.tile([0.0, 1.0, 1.0, 0.0], 10)
    found = fit_rows(table(np.tile([0.0, 1.0, 0.6, 0.4], 10), label))
    assert np.isfinite(found.expected[0])


def test_a_hospitals_fit_in_groups_is_near_that_of_its_rows() -> None:
    apart = []
    for seed in range(12):
        label, p = drawn(89, 1.0, 0.0, seed)
        rows = table(p, label)
        _, training = drawn(300, 1.0, 0.0, seed=99)
        found, exact = fit_grouped(rows, edges_of(training), 3), fit_rows(rows)
        apart.append((found.slope[0] - exact.slope[0]) / exact.slope_error[0])
        assert found.large[0] == pytest.approx(exact.large[0], abs=0.3 * exact.large_error[0])
        assert found.expected[0] == pytest.approx(exact.expected[0], rel=0.03)
        assert found.slope[0] == round(found.slope[0], 3)
    assert np.abs(apart).mean() < 0.25


def test_groups_of_few_patients_give_no_slope() -> None:
    label, p = drawn(60, 1.0, 0.0, seed=2)
    few = np.flatnonzero(np.cumsum(label) <= 9)
    rows = table(p[few], label[few])
    assert np.isfinite(fit_grouped(rows, edges_of(p), 1).slope[0])
    found = fit_grouped(rows, edges_of(p), 3)
    assert np.isnan([found.slope[0], found.intercept[0]]).all()
    assert np.isfinite([found.large[0], found.expected[0]]).all()
