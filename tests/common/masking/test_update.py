from __future__ import annotations

import numpy as np
import pytest

from common.masking.update import from_update_rings, to_update_rings

NONE = np.zeros((0, 2), dtype=np.int64)


def test_shares_add_up_with_wide_ranges_and_losses() -> None:
    rng = np.random.default_rng(1)
    wide = np.array([[3, 6], [9, 10]], dtype=np.int64)
    shares = [rng.normal(size=12).astype(np.float32) for _ in range(4)]
    for share in shares:
        share[3:6] *= 1e6  # running variances may jump
    losses = np.array([3.25, 10.0, 0.0, 2.0])
    rings = [to_update_rings(share, wide, losses, 4) for share in shares]
    parameters = sum((p for p, _ in rings), start=np.zeros(12, dtype=np.uint32))
    rest = sum((r for _, r in rings), start=np.zeros(8, dtype=np.uint64))
    change, total = from_update_rings(parameters, rest, wide)
    expected = np.sum(np.array(shares, dtype=np.float64), axis=0)
    np.testing.assert_allclose(change, expected, rtol=1e-7, atol=4 * 2.0**-25)
    assert total.tolist() == (4 * losses).tolist()


def test_a_round_that_only_looks_sends_losses_alone() -> None:
    nothing = np.zeros(0, dtype=np.float32)
    wide = np.array([[0, 2]], dtype=np.int64)
    parameters, rest = to_update_rings(nothing, wide, np.array([1.0, 2.0, 3.0, 4.0]), 3)
    assert (parameters.size, rest.size) == (0, 4)
    change, losses = from_update_rings(parameters, rest, wide)
    assert change.size == 0
    assert losses.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_a_jump_of_a_weight_outside_the_wide_ranges_is_an_error() -> None:
    with pytest.raises(OverflowError, match="a change of the weights"):
        to_update_rings(np.array([0.0, 1e6], dtype=np.float32), NONE, np.zeros(4), 4)


def test_an_update_that_does_not_fit_its_ranges_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        from_update_rings(np.zeros(5, np.uint32), np.zeros(6, np.uint64), NONE)
