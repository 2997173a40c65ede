"""SCAFFOLD on the server by hand: Karimireddy et al. 2020, algorithm 1."""

from __future__ import annotations

from typing import Any

import numpy as np


def test_weights_and_control_variate_move_by_the_mean_changes(
    model_of: Any, changes: Any, update_of: Any, start: Any
) -> None:
    model, by_hand, control = model_of(strategy="scaffold"), start.astype(np.float64), np.zeros(6)
    assert np.array_equal(model.control, np.zeros(6, dtype=np.float32))
    for number in range(3):
        controls = changes(100 + number)
        moved = (0.75 * controls[0] + 0.25 * controls[1]).astype(np.float32)
        given = update_of(changes(number), 1.0, moved)
        by_hand, control = by_hand + given.change, control + moved
        model.update(number, given)
        np.testing.assert_allclose(model.weights, by_hand, atol=1e-6)
        np.testing.assert_allclose(model.control, control, atol=1e-6)
