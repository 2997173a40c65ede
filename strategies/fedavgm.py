"""Averaging with momentum on the server (Hsu et al. 2019), by Flower's own FedAvgM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flwr.serverapp import strategy

from common.study.strategy import StrategyOptions
from strategies.base import Stateless, Vector, record

_RATE = 1.0


class FedAvgM(Stateless, strategy.FedAvgM):
    """v <- m v + (old - mean), new = old - rate v."""

    def __init__(self, options: StrategyOptions) -> None:
        super().__init__(
            server_learning_rate=options.server_rate or _RATE,
            server_momentum=options.server_momentum,
        )

    def begin(self, weights: Vector) -> None:
        """Flower takes the change against these."""
        self.current_arrays = record(weights)

    def state(self) -> dict[str, Any]:
        """The momentum; None before the first round."""
        return {"momentum": self.momentum_vector[0] if self.momentum_vector else None}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with this momentum."""
        momentum = state["momentum"]
        self.momentum_vector = None if momentum is None else [momentum]
