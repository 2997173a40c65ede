"""FedAdam by hand: Reddi et al. 2021, algorithm 2, with the bias correction of Flower 1.41."""

from __future__ import annotations

from typing import Any

import numpy as np


def test_two_moments_of_the_mean_change_are_followed(
    model_of: Any, changes: Any, update_of: Any, start: Any
) -> None:
    rate, b1, b2, tau = 0.02, 0.8, 0.95, 1e-3
    options = {"server_rate": rate, "beta_1": b1, "beta_2": b2, "tau": tau}
    model = model_of(strategy="fedadam", strategy_options=options)
    by_hand, first, second = start.astype(np.float64), np.zeros(6), np.zeros(6)
    for number in range(4):
        given = update_of(changes(number))
        first = b1 * first + (1 - b1) * given.change
        second = b2 * second + (1 - b2) * given.change.astype(np.float64) ** 2
        step = rate * np.sqrt(1 - b2 ** (number + 2)) / (1 - b1 ** (number + 2))
        by_hand = by_hand + step * first / (np.sqrt(second) + tau)
        model.update(number, given)
        np.testing.assert_allclose(model.weights, by_hand, atol=1e-6)
