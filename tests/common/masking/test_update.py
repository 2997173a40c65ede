from __future__ import annotations

import numpy as np
import pytest

from common.masking.update import (
    Update,
    UpdateRings,
    Weights,
    from_update_rings,
    to_update_rings,
    update_sizes,
)
from common.masking.weights import grid16_for, on_grid16

NONE = np.zeros((0, 2), dtype=np.int64)
NOTHING = np.zeros(0, dtype=np.float32)
SUMS = np.array([3.25, 10.0, 0.0, 2.0, 1.5])


def summed(rings: list[UpdateRings]) -> UpdateRings:
    total = UpdateRings.zeros(*rings[0].sizes)
    for one in rings:
        total.add(one)
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
    assert rings[0].sizes == update_sizes(12, running, 12, 0.0) == (24, 0, 7)
    total = from_update_rings(summed(rings), 12, running)
    np.testing.assert_allclose(total.change, np.sum(shares, axis=0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(total.control, np.sum(controls, axis=0), rtol=1e-6, atol=1e-6)


def test_sixteen_bits_are_exact_on_their_grid_and_add_up() -> None:
    running = np.array([[4, 5]], dtype=np.int64)
    grid = grid16_for(4.0)
    shares = [on_grid16(share, grid, 4) for share in shares_of(4, NONE)]
    rings = [
        to_update_rings(Update(share.copy(), NOTHING, SUMS), running, 4, grid) for share in shares
    ]
    assert rings[0].sizes == update_sizes(12, running, 0, grid) == (0, 12, 6)
    assert rings[0].ring16.dtype == np.uint16
    total = from_update_rings(summed(rings), 12, running, grid)
    np.testing.assert_allclose(total.change, np.sum(shares, axis=0), rtol=1e-6, atol=1e-7)


def test_what_is_too_large_for_sixteen_bits_is_cut_and_the_rest_is_known() -> None:
    grid = grid16_for(1.0)
    values = np.array([0.3, -9.0, 100.0], dtype=np.float32)
    sent = on_grid16(values, grid, sites=4)
    assert abs(sent[0] - 0.3) <= grid / 2
    largest = 2.0**15 / 4 * grid
    assert np.all(np.abs(sent) < largest)
    to_update_rings(Update(sent, NOTHING, SUMS), NONE, 4, grid)
    with pytest.raises(ValueError, match="not on the grid"):
        to_update_rings(Update(values[:1], NOTHING, SUMS), NONE, 4, grid)
    with pytest.raises(OverflowError, match="16 bits"):
        to_update_rings(Update(values[2:], NOTHING, SUMS), NONE, 4, 2.0**-12)


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
