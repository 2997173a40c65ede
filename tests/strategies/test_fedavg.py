"""Federated averaging: the last rounds' mean, and going on from a stored state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.plain_file import read_plain, write_plain
from common.study import NetworkSettings
from strategies.fedavg import FederatedAverage, Weights

SETTINGS = NetworkSettings(rounds=5, average_last=0.6)


def weights_of(number: int) -> Weights:
    return np.random.default_rng(number).normal(size=7).astype(np.float32)


def test_the_result_is_the_mean_of_the_last_rounds() -> None:
    strategy = FederatedAverage(SETTINGS, weights_of(99))
    for number in range(5):
        strategy.update(number, weights_of(number))
    expected = np.mean([weights_of(n).astype(np.float64) for n in (2, 3, 4)], axis=0)
    np.testing.assert_allclose(strategy.result(), expected, rtol=1e-7)


def test_before_the_last_rounds_the_result_is_the_newest() -> None:
    strategy = FederatedAverage(SETTINGS, weights_of(99))
    assert np.array_equal(strategy.result(), weights_of(99))
    strategy.update(0, weights_of(0))
    assert np.array_equal(strategy.result(), weights_of(0))


@pytest.mark.parametrize("stopped_after", [0, 1, 3, 5])
def test_a_strategy_goes_on_from_its_state_on_disk_to_the_last_bit(
    tmp_path: Path, stopped_after: int
) -> None:
    whole = FederatedAverage(SETTINGS, weights_of(99))
    first = FederatedAverage(SETTINGS, weights_of(99))
    for number in range(stopped_after):
        whole.update(number, weights_of(number))
        first.update(number, weights_of(number))
    write_plain(tmp_path / "state", first.state())
    again = FederatedAverage(SETTINGS, weights_of(1))
    again.restore(read_plain(tmp_path / "state"))
    assert np.array_equal(again.weights, whole.weights)
    for number in range(stopped_after, 5):
        whole.update(number, weights_of(number))
        again.update(number, weights_of(number))
    assert again.result().tobytes() == whole.result().tobytes()


def test_no_mean_is_stored_before_weights_are_averaged() -> None:
    strategy = FederatedAverage(SETTINGS, weights_of(99))
    strategy.update(0, weights_of(0))
    assert strategy.state()["total"] is None
