"""FedYogi by hand: Reddi et al. 2021, algorithm 2."""

from __future__ import annotations

from typing import Any

import numpy as np


def test_two_moments_of_the_mean_change_are_followed(
    model_of: Any, changes: Any, update_of: Any, start: Any
) -> None:
    rate, b1, b2, tau = 0.02, 0.8, 0.95, 1e-3
    options = {"server_rate": rate, "beta_1": b1, "beta_2": b2, "tau": tau}
    model = model_of(strategy="fedyogi", strategy_options=options)
    by_hand, first, second = start.astype(np.float64), np.zeros(6), np.zeros(6)
    for number in range(4):
        given = update_of(changes(number))
        first = b1 * first + (1 - b1) * given.change
        square = given.change.astype(np.float64) ** 2
        second = second - (1 - b2) * square * np.sign(second - square)
        step = rate
        by_hand = by_hand + step * first / (np.sqrt(second) + tau)
        model.update(number, given)
        np.testing.assert_allclose(model.weights, by_hand, atol=1e-6)
