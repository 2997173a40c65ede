"""The weights of a network follow from the totals to the last bit, on every processor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.processors import OLD, PROCESSORS
from common.study.networks import NetworkSettings
from strategies.base import AggregatedUpdate
from strategies.model import GlobalModel
from tests.processors import run_on
from tests.strategies import steps

NEGATIVE = np.float32(-0.25)


@pytest.mark.parametrize("processor", [PROCESSORS["zen"], OLD], ids=["zen", "prescott"])
def test_another_processor_finds_the_same_weights_and_rates(processor: dict[str, str]) -> None:
    assert run_on(processor, "tests.strategies.steps") == steps.found()


@pytest.mark.parametrize("clamped", [True, False])
def test_a_running_variance_never_falls_below_zero(clamped: bool) -> None:
    start: Any = np.array([1.0, 0.0, 0.125, 1.0], dtype=np.float32)
    statistics, variances = np.array([[1, 3]]), np.array([[2, 3]])
    given = (variances,) if clamped else ()
    model = GlobalModel(NetworkSettings(rounds=1), start, statistics, 1, *given)
    model.update(0, AggregatedUpdate(np.full(4, NEGATIVE)))
    expected = 0.0 if clamped else -0.125
    assert model.weights.tolist() == [0.75, -0.25, expected, 0.75]
