"""Server momentum by hand: Hsu et al. 2019."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.mark.parametrize(("momentum", "rate"), [(0.9, 1.0), (0.5, 0.3)])
def test_the_momentum_of_the_mean_change_is_followed(
    momentum: float, rate: float, model_of: Any, changes: Any, update_of: Any, start: Any
) -> None:
    options = {"server_momentum": momentum, "server_rate": rate}
    model = model_of(strategy="fedavgm", strategy_options=options)
    by_hand, speed = start.astype(np.float64), np.zeros(6)
    for number in range(4):
        given = update_of(changes(number))
        speed = momentum * speed - given.change
        by_hand = by_hand - rate * speed
        model.update(number, given)
        np.testing.assert_allclose(model.weights, by_hand, atol=1e-6)
