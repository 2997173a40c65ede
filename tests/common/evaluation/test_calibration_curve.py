"""The flexible calibration curve, against a natural spline fitted by scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from sklearn.linear_model import LogisticRegression

from common.evaluation.calibration_curve import KNOTS, calibration_curve, spline
from common.evaluation.calibration_fit import Points
from common.statistics.base import Rows
from common.statistics.class_histogram import QUANTILES, ClassHistogram, score_edges


def drawn(n: int, seed: int) -> tuple[Any, Any]:
    """Probabilities, and outcomes whose risk bends away from them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    risk = scipy.special.expit(0.3 + 0.8 * x - 0.5 * x**2)
    return scipy.special.expit(x), (rng.random(n) < risk).astype(np.float64)


def natural(x: Any, knots: Any) -> Any:
    """Natural cubic splines through unit vectors at the knots: another basis of the same curves."""
    columns = []
    for unit in np.eye(knots.size):
        inner = scipy.interpolate.CubicSpline(knots, unit, bc_type="natural")
        slope = inner(knots[[0, -1]], 1)
        column = inner(np.clip(x, knots[0], knots[-1]))
        column = column + slope[0] * np.minimum(x - knots[0], 0.0)
        columns.append(column + slope[1] * np.maximum(x - knots[-1], 0.0))
    return np.column_stack(columns)


def test_curve_is_that_of_natural_splines_fitted_by_scikit_learn() -> None:
    p, label = drawn(400, seed=1)
    found = calibration_curve([Points.of_rows(p, label)])
    x = scipy.special.logit(p)
    middle = (np.arange(400) + 0.5) / 400
    knots = np.interp(KNOTS[100], middle, np.sort(x))
    model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000, fit_intercept=False)
    model.fit(natural(x, knots), label)
    grid = natural(scipy.special.logit(found.predicted[0]), knots)
    expected = scipy.special.expit(grid @ model.coef_[0])
    assert np.abs(found.observed[0] - expected).max() < 1e-3
    design = natural(x, knots)
    fitted = scipy.special.expit(design @ model.coef_[0])
    covariance = np.linalg.inv(design.T @ ((fitted * (1 - fitted))[:, None] * design))
    half = 1.96 * np.sqrt(np.einsum("ij,jk,ik->i", grid, covariance, grid))
    low = scipy.special.expit(grid @ model.coef_[0] - half)
    assert np.abs(found.low[0] - low).max() < 1e-3


def test_curve_from_cells_is_close_to_that_of_rows() -> None:
    p, label = drawn(300, seed=2)
    edges = score_edges(np.quantile(drawn(300, seed=3)[0], QUANTILES)[None, :])
    counting = ClassHistogram(edges=edges)
    rows = Rows(p[:, None], ("model",), label, np.zeros(300, dtype=np.int64))
    cells = Points.of_cells(counting.finalise(counting.from_rows(rows)), 0)
    found = calibration_curve([cells, Points.of_rows(p, label)])
    first, second = (
        scipy.interpolate.interp1d(found.predicted[i], found.observed[i], bounds_error=False)
        for i in range(2)
    )
    grid = np.linspace(0.2, 0.8, 30)
    assert np.abs(first(grid) - second(grid)).max() < 0.02


def test_band_holds_the_true_risk_as_often_as_it_says() -> None:
    held = []
    for seed in range(60):
        p, label = drawn(400, seed=100 + seed)
        found = calibration_curve([Points.of_rows(p, label)])
        x = scipy.special.logit(found.predicted[0])
        risk = scipy.special.expit(0.3 + 0.8 * x - 0.5 * x**2)
        held.append(((found.low[0] <= risk) & (risk <= found.high[0])).mean())
    assert 0.9 < np.mean(held) < 0.99


def test_few_patients_equal_scores_and_separated_classes_have_no_curve() -> None:
    p, label = drawn(400, seed=1)
    few = np.flatnonzero(np.cumsum(label) <= 19)
    apart = Points.of_rows(np.linspace(0.1, 0.9, 80), np.repeat([0.0, 1.0], 40))
    equal = Points.of_rows(np.full(80, 0.3), np.tile([0.0, 1.0], 40))
    found = calibration_curve([Points.of_rows(p[few], label[few]), apart, equal])
    assert np.isnan(found.observed).all()


def test_fewer_patients_have_fewer_knots() -> None:
    assert [len(KNOTS[fewest]) for fewest in (100, 30, 20)] == [5, 4, 3]
    assert spline(np.zeros(2), np.array([-1.0, 0.0, 1.0, 2.0])).shape == (2, 4)
