"""Random-effects summary against metafor's published output and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.evaluation.random_effects import random_effects

# tuberculosis with and without BCG vaccination in 13 trials: Colditz et al. 1994, JAMA 271:698-702
VACCINATED = np.array(
    [
        *((4, 119), (6, 300), (3, 228), (62, 13536), (33, 5036), (180, 1361), (8, 2537)),
        *((505, 87886), (29, 7470), (17, 1699), (186, 50448), (5, 2493), (27, 16886)),
    ],
    dtype=np.float64,
)
CONTROLS = np.array(
    [
        *((11, 128), (29, 274), (11, 209), (248, 12619), (47, 5761), (372, 1079), (10, 619)),
        *((499, 87892), (45, 7232), (65, 1600), (141, 27197), (3, 2338), (29, 17825)),
    ],
    dtype=np.float64,
)


def test_the_bcg_trials_give_what_metafor_gives() -> None:
    """`rma(measure="RR", method="PM", test="knha")` of R's metafor (Viechtbauer 2010)."""
    (a, b), (c, d) = VACCINATED.T, CONTROLS.T
    values = np.log(a / (a + b)) - np.log(c / (c + d))
    variances = 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)
    found = random_effects(values, variances)
    assert found.mean == pytest.approx(-0.7150, abs=5e-5)
    assert found.tau**2 == pytest.approx(0.3181, abs=5e-5)
    assert found.i2 == pytest.approx(0.9233, abs=5e-5)
    assert (found.low, found.high) == pytest.approx((-1.109, -0.321), abs=1e-3)
    assert found.predicted_low < found.low < found.high < found.predicted_high


@given(
    st.lists(st.floats(-3, 3), min_size=4, max_size=12),
    st.floats(0.01, 1.0),
    st.floats(-2.0, 2.0),
    st.floats(0.5, 3.0),
)
@settings(max_examples=60)
def test_the_summary_moves_and_scales_with_its_estimates(
    values: list[float], variance: float, shift: float, scale: float
) -> None:
    own, variances = np.array(values), np.full(len(values), variance)
    one = random_effects(own, variances)
    other = random_effects(own * scale + shift, variances * scale**2)
    for name in ("mean", "low", "high", "predicted_low", "predicted_high"):
        wanted = getattr(one, name) * scale + shift
        assert getattr(other, name) == pytest.approx(wanted, rel=1e-4, abs=1e-4)
    assert other.tau == pytest.approx(one.tau * scale, rel=1e-3, abs=1e-4)


def test_three_hospitals_predict_nothing_of_a_fourth() -> None:
    found = random_effects(np.array([0.4, 0.9, 0.7]), np.full(3, 0.04))
    assert np.isnan([found.predicted_low, found.predicted_high]).all()
    assert found.low < found.mean < found.high


def test_equal_estimates_do_not_differ_between_hospitals() -> None:
    found = random_effects(np.full(4, 0.7), np.full(4, 0.04))
    assert (found.tau, found.i2, found.mean) == (0.0, 0.0, pytest.approx(0.7))
    # no narrower than chance alone: t of three degrees of freedom times 0.1
    assert found.high - found.mean == pytest.approx(3.1824 * 0.1, rel=1e-4)


def test_the_mean_and_a_new_hospital_lie_in_their_intervals_as_often_as_they_say() -> None:
    rng, draws, hospitals = np.random.default_rng(8), 1500, 6
    inside = predicted = 0
    for _ in range(draws):
        variances = rng.uniform(0.02, 0.1, hospitals)
        true = rng.normal(1.0, 0.4, hospitals + 1)
        values = rng.normal(true[:-1], np.sqrt(variances))
        found = random_effects(values, variances)
        inside += found.low <= 1.0 <= found.high
        predicted += found.predicted_low <= true[-1] <= found.predicted_high
    assert 0.93 <= inside / draws <= 0.98
    # with six hospitals such an interval is known to hold a little less often than it says
    assert 0.88 <= predicted / draws <= 0.99


@pytest.mark.parametrize(
    ("values", "variances"),
    [([0.1, 0.2], [1.0, 1.0]), ([0.1, 0.2, 0.3], [1.0, 1.0, 0.0]), ([0.1] * 3, [1.0] * 2)],
)
def test_too_few_estimates_or_one_without_variance_is_refused(
    values: list[float], variances: list[float]
) -> None:
    with pytest.raises(ValueError, match="3 estimates or more"):
        random_effects(np.array(values), np.array(variances))


def test_it_is_the_model_of_metafor() -> None:
    # R 4.2.2, metafor 3.8-1:
    # f <- rma(c(1.2, 0.4, 2.1, 1, -0.2, 1.7), c(0.1, 0.08, 0.2, 0.15, 0.12, 0.3),
    #          method = "PM", test = "adhoc", control = list(tol = 1e-14))
    # c(coef(f), f$ci.lb, f$ci.ub, sqrt(f$tau2), f$I2 / 100)
    # coef(f) + c(-1, 1) * qt(0.975, 4) * sqrt(f$tau2 + f$se^2)
    found = random_effects(
        np.array([1.2, 0.4, 2.1, 1.0, -0.2, 1.7]), np.array([0.1, 0.08, 0.2, 0.15, 0.12, 0.3])
    )
    ours = (found.mean, found.low, found.high, found.tau, found.i2)
    theirs = (0.98269845, 0.10665380, 1.85874310, 0.73870571, 0.80138120)
    assert ours == pytest.approx(theirs, abs=1e-7)
    reach = found.predicted_low, found.predicted_high
    assert reach == pytest.approx((-1.276018, 3.241415), abs=1e-6)
