from __future__ import annotations

import numpy as np
import pytest

from common.masking.narrow import Grid, grid_for, on_grid, pack
from common.masking.update import (
    Update,
    UpdateRings,
    Weights,
    from_update_rings,
    to_update_rings,
    update_sizes,
)

NONE = np.zeros((0, 2), dtype=np.int64)
NOTHING = np.zeros(0, dtype=np.float32)
SUMS = np.array([3.25, 10.0, 0.0, 2.0, 1.5])


def summed(rings: list[UpdateRings]) -> UpdateRings:
    total = UpdateRings.zeros(*rings[0].sizes)
    for one in rings:
        total.add(one.parameters, pack(one.narrow, 16), one.statistics, 16)
    return total


def shares_of(seed: int, running: np.ndarray, sites: int = 4) -> list[Weights]:
    rng = np.random.default_rng(seed)
    shares = [rng.normal(size=12).astype(np.float32) for _ in range(sites)]
    for share in shares:
        for start, stop in running:
            share[start:stop] *= 1e6  # running variances may jump
    return shares


def test_shares_add_up_with_wide_ranges_and_sums() -> None:
    running = np.array([[3, 6], [9, 10]], dtype=np.int64)
    shares = shares_of(1, running)
    rings = [to_update_rings(Update(share.copy(), NOTHING, SUMS), running, 4) for share in shares]
    assert rings[0].sizes == update_sizes(12, running, 0, 0.0) == (12, 0, 9)
    total = from_update_rings(summed(rings), 12, running)
    expected = np.sum(np.array(shares, dtype=np.float64), axis=0)
    np.testing.assert_allclose(total.change, expected, rtol=1e-7, atol=4 * 2.0**-25)
    assert total.sums.tolist() == (4 * SUMS).tolist()
    assert total.control.size == 0


def test_control_variates_travel_behind_the_weights() -> None:
    running = np.array([[0, 2]], dtype=np.int64)
    shares, controls = shares_of(2, running), shares_of(3, NONE)
    rings = [
        to_update_rings(Update(share.copy(), control, SUMS), running, 4)
        for share, control in zip(shares, controls, strict=True)
    ]
    assert rings[0].sizes == update_sizes(12, running, 12, Grid()) == (24, 0, 7)
    total = from_update_rings(summed(rings), 12, running)
    np.testing.assert_allclose(total.change, np.sum(shares, axis=0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(total.control, np.sum(controls, axis=0), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("width", [10, 12, 16])
def test_narrow_changes_are_exact_on_their_grid_and_add_up(width: int) -> None:
    running = np.array([[4, 5]], dtype=np.int64)
    grid = grid_for((4.0,), width)
    shares = [on_grid(share, grid, 4) for share in shares_of(4, NONE)]
    rings = [
        to_update_rings(Update(share.copy(), NOTHING, SUMS), running, 4, grid) for share in shares
    ]
    assert rings[0].sizes == update_sizes(12, running, 0, grid) == (0, 12, 6)
    total = from_update_rings(summed(rings), 12, running, grid)
    np.testing.assert_allclose(total.change, np.sum(shares, axis=0), rtol=1e-6, atol=1e-7)


def test_a_round_that_only_looks_sends_sums_alone() -> None:
    running = np.array([[0, 2]], dtype=np.int64)
    rings = to_update_rings(Update(NOTHING, NOTHING, SUMS), running, 3)
    assert rings.sizes == (0, 0, 5)
    found = from_update_rings(rings, 0, running)
    assert found.change.size == 0
    assert found.sums.tolist() == SUMS.tolist()


def test_a_jump_of_a_weight_outside_the_running_statistics_is_an_error() -> None:
    jump = np.array([0.0, 1e6], dtype=np.float32)
    with pytest.raises(OverflowError, match="a change of the weights"):
        to_update_rings(Update(jump, NOTHING, SUMS), NONE, 4)


@pytest.mark.parametrize("sizes", [(5, 0, 6), (7, 0, 5), (0, 5, 5)])
def test_an_update_that_does_not_fit_is_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        from_update_rings(UpdateRings.zeros(*sizes), 5, NONE)
