"""FedNova on the server by hand: Wang et al. 2020, equation 6."""

from __future__ import annotations

from typing import Any

import numpy as np

from strategies.base import AggregatedUpdate


def test_a_site_that_takes_ten_times_the_steps_does_not_count_ten_times(
    model_of: Any, changes: Any, start: Any
) -> None:
    model, by_hand = model_of(strategy="fednova", optimiser="sgd"), start.astype(np.float64)
    steps, share = np.array([2.0, 20.0]), np.array([0.75, 0.25])
    for number in range(3):
        given = [change.astype(np.float64) for change in changes(number)]
        over = sum(p * d / tau for p, d, tau in zip(share, given, steps, strict=True))
        nothing = np.zeros(0, dtype=np.float32)
        model.update(
            number, AggregatedUpdate(over.astype(np.float32), nothing, float(share @ steps))
        )
        by_hand = by_hand + float(share @ steps) * over
        np.testing.assert_allclose(model.weights, by_hand, atol=1e-6)
