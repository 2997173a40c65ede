"""Federated averaging against the mean by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.study.block import Settings
from strategies.fedavg import FedAvg


@pytest.mark.parametrize("name", ["fedavg", "fedprox", "fedbn"])
def test_the_new_weights_are_the_old_and_the_weighted_mean_change(
    name: str, model_of: Any, changes: Any, update_of: Any, start: Any
) -> None:
    model, by_hand = model_of(strategy=name), start.astype(np.float64)
    for number in range(3):
        first, second = changes(number)
        by_hand = by_hand + 0.75 * first + 0.25 * second
        model.update(number, update_of((first, second)))
        np.testing.assert_allclose(model.weights, by_hand, atol=1e-6)


def test_flowers_own_average_of_one_reply_of_weight_one_is_the_reply(
    changes: Any, update_of: Any, start: Any
) -> None:
    """Why the average need not be asked for."""
    given = update_of(changes(0))
    assert FedAvg.averages
    assert np.array_equal(FedAvg(Settings()).aggregate(0, start, given), start + given.change)
