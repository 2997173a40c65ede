"""FedAdam: Adam on the server."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from common.study.block import Positive, Settings
from strategies.base import AggregatedUpdate, Strategy, Vector, register

RATE = 0.01
REDDI: dict[str, Any] = {"origin": "Reddi 2021"}


class AdaptiveOptions(Settings):
    """Options of FedAdam and FedYogi."""

    server_rate: float = Field(
        RATE,
        ge=0,
        title="step along the mean change",
        description=f"0 = {RATE:g}, as older files have it",
        json_schema_extra=REDDI,
    )
    beta_1: float = Field(
        0.9, ge=0, lt=1, title="decay of the first moment", json_schema_extra=REDDI
    )
    beta_2: float = Field(
        0.99, ge=0, lt=1, title="decay of the second moment", json_schema_extra=REDDI
    )
    tau: Positive = Field(1e-3, title="least divisor of a step", json_schema_extra=REDDI)


@register
class FedAdam(Strategy[AdaptiveOptions]):
    """The sites' mean change is taken for a gradient (algorithm 2), corrected as Flower's FedAdam.

    In single precision and without a library's powers, so that every machine finds the same
    weights. The first step is nearly as large for a small change as for a large one:

    >>> strategy, update = FedAdam(AdaptiveOptions()), AggregatedUpdate(np.float32([1.0, 0.1]))
    >>> strategy.aggregate(0, np.zeros(2, np.float32), update).astype(float).round(4).tolist()
    [0.0074, 0.0067]
    """

    name = "fedadam"
    title = "FedAdam"
    reference = "Reddi 2021"
    summary = "runs Adam on the server"
    own_options = AdaptiveOptions

    def __init__(self, options: AdaptiveOptions) -> None:
        super().__init__(options)
        self._first: Vector | None = None
        self._second: Vector | None = None

    def aggregate(self, number: int, weights: Vector, update: AggregatedUpdate) -> Vector:
        """Return the weights after one step along the first moment."""
        options, change = self.options, update.change
        first = np.zeros_like(change) if self._first is None else self._first
        second = np.zeros_like(change) if self._second is None else self._second
        keep = np.float32(options.beta_1)
        self._first = keep * first + np.float32(1.0 - options.beta_1) * change
        self._second = self.second_moment(second, change * change)
        divisor = np.sqrt(self._second) + np.float32(options.tau)
        return weights + np.float32(self.rate(number)) * self._first / divisor

    def second_moment(self, second: Vector, square: Vector) -> Vector:
        """Return the next second moment, from the one before and the squared change."""
        keep = np.float32(self.options.beta_2)
        return keep * second + np.float32(1.0 - self.options.beta_2) * square

    def rate(self, number: int) -> float:
        """Return the step of a round (0, 1, ...), corrected for moments that start at zero."""
        first = second = 1.0
        # Flower counts rounds from one, and one more
        for _ in range(number + 2):
            first, second = first * self.options.beta_1, second * self.options.beta_2
        return (self.options.server_rate or RATE) * math.sqrt(1.0 - second) / (1.0 - first)

    def state(self) -> dict[str, Any]:
        """Return first and second moment; None before the first round."""
        return {"first": self._first, "second": self._second}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with these moments."""
        self._first, self._second = state["first"], state["second"]
