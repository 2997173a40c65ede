"""What every strategy has: Flower's Strategy, the state it goes on from, and what it is told.

A round's replies come in as one, the masked sum with weight one: for a strategy that averages, that
is the average. Those that compare single updates get one reply a site.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray

Vector = NDArray[np.float32]
# names in a reply's records
WEIGHTS, CONTROL, STEPS = "weights", "control", "steps"
EXAMPLES = "num-examples"


class RoundStrategy(Protocol):
    """A strategy of Flower that the driver in `strategies.model` can use."""

    single_updates: ClassVar[bool]
    averages: ClassVar[bool]
    aggregate_train: Any  # as `flwr.serverapp.strategy.Strategy` has it

    def begin(self, weights: Vector) -> None:
        """Take note of the weights that a round starts from."""

    def control(self) -> Vector:
        """What is sent beside the weights; empty for most."""

    def state(self) -> dict[str, Any]:
        """All that later rounds depend on, as plain data (see `common.messages.plain`)."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""


class Stateless:
    """For strategies that carry nothing from round to round."""

    single_updates: ClassVar[bool] = False
    # nothing but the average: of one reply with weight one that is the reply, and Flower, which
    # would copy a large network six times to find out, need not be asked
    averages: ClassVar[bool] = False

    def begin(self, weights: Vector) -> None:
        """Nothing to note."""

    def control(self) -> Vector:
        """Nothing is sent beside the weights."""
        return np.zeros(0, dtype=np.float32)

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""


def record(vector: Vector, name: str = WEIGHTS) -> ArrayRecord:
    """A vector as Flower's strategies take it."""
    return ArrayRecord({name: Array(vector)})


def vector_of(arrays: ArrayRecord | None, name: str = WEIGHTS) -> Vector:
    """The vector in a record; numpy's arithmetic may have made it float64."""
    if arrays is None:
        raise ValueError("a round without a reply")
    found: Vector = arrays[name].numpy().astype(np.float32, copy=False)
    return found
