"""Two sites on a toy whose training can be followed by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common.study.model import NetworkSettings
from strategies.base import AggregatedUpdate
from strategies.model import GlobalModel

Vector = NDArray[np.float32]
NO_STATISTICS = np.zeros((0, 2), dtype=np.int64)
SIZE = 6


@pytest.fixture
def changes() -> Callable[[int], Sequence[Vector]]:
    """Changes of each of two sites in a round, not yet weighted."""

    def of_round(number: int) -> Sequence[Vector]:
        rng = np.random.default_rng(number)
        return [rng.normal(0.0, 0.1, SIZE).astype(np.float32) for _ in range(2)]

    return of_round


@pytest.fixture
def start() -> Vector:
    return np.linspace(-1.0, 1.0, SIZE, dtype=np.float32)


@pytest.fixture
def model_of(start: Vector) -> Callable[..., GlobalModel]:
    """A global model at the start."""

    def make(statistics: Any = NO_STATISTICS, rounds: int = 4, **settings: Any) -> GlobalModel:
        own = NetworkSettings(rounds=rounds, **settings)
        return GlobalModel(own, start, statistics, rounds)

    return make


@pytest.fixture
def update_of() -> Callable[..., AggregatedUpdate]:
    """The sum of two sites' changes, with 3 and 1 patients."""

    def make(
        changes: Sequence[Vector], steps: float = 1.0, control: Any = None
    ) -> AggregatedUpdate:
        parts = (changes[0] * np.float32(0.75), changes[1] * np.float32(0.25))
        nothing = np.zeros(0, dtype=np.float32)
        return AggregatedUpdate(
            parts[0] + parts[1], nothing if control is None else control, steps, parts
        )

    return make
