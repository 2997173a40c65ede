"""Print digests of initial weights, of every strategy's steps, and of the rates of all rounds."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from common.masking.narrow import grid_for
from common.models import NETWORKS
from common.networks.flat import flatten, running_ranges, variance_ranges
from common.networks.initial import initial_network
from common.networks.schedule import learning_rate_at
from common.study.networks import NetworkSettings
from common.study.strategy import strategies
from strategies.base import AggregatedUpdate
from strategies.model import GlobalModel

SMALL: dict[str, Any] = {"layers": (1, 1, 1, 1), "widths": (4, 4, 8, 8), "rounds": 9}
ROUNDS = 4


def digest(numbers: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(numbers).tobytes()).hexdigest()


def steps_of(name: str) -> str:
    """Train a small network for a few rounds of made-up changes."""
    settings = NetworkSettings(strategy=name, optimiser="sgd", average_last=0.5, **SMALL)
    network, _ = initial_network("dl2d", settings, seed=3)
    running = running_ranges(network)
    model = GlobalModel(settings, flatten(network), running, ROUNDS, variance_ranges(network))
    random = np.random.default_rng(1)
    for number in range(ROUNDS):
        drawn = random.integers(-(2**23), 2**23, size=(2, model.weights.size))
        change, control = drawn.astype(np.float32) * np.float32(2.0**-26)
        given = control if model.control.size else model.control
        singles = (change * np.float32(0.75), change * np.float32(0.25))
        model.update(number, AggregatedUpdate(change, given, 2.5, singles))
    return digest(model.result())


def found() -> dict[str, Any]:
    cosine = NetworkSettings(schedule="cosine", warmup_rounds=3, rounds=50)
    return {
        **{
            name: digest(flatten(initial_network(name, NetworkSettings(**SMALL), 5)[0]))
            for name in NETWORKS
        },
        **{name: steps_of(name) for name in strategies() if name != "krum"},
        "rates": [learning_rate_at(cosine, number).hex() for number in range(50)],
        "grids": [
            list(grid_for((1e-9, 0.3, 1.0, 8191.9, 8192.0), width).steps) for width in (10, 16)
        ],
    }


if __name__ == "__main__":
    print(json.dumps(found()))
