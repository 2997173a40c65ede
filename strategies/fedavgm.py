"""FedAvgM: averaging with momentum on the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from common.study.block import Settings
from strategies.base import AggregatedUpdate, Strategy, Vector, record, register

RATE = 1.0


class FedAvgMOptions(Settings):
    """Momentum and step of the server."""

    server_momentum: float = Field(
        0.9,
        ge=0,
        lt=1,
        title="momentum on the server",
        json_schema_extra={"origin": "ours: a usual momentum"},
    )
    server_rate: float = Field(
        RATE,
        ge=0,
        title="step along the mean change",
        description=f"0 = {RATE:g}, as older files have it",
        json_schema_extra={"origin": "Hsu 2019"},
    )


@register
class FedAvgM(Strategy[FedAvgMOptions]):
    """v <- m v + (old - mean), new = old - rate v; by Flower's own FedAvgM.

    >>> import numpy as np
    >>> weights, update = np.zeros(1, np.float32), AggregatedUpdate(np.float32([1.0]))
    >>> strategy = FedAvgM(FedAvgMOptions(server_momentum=0.5))
    >>> weights = strategy.aggregate(0, weights, update)
    >>> weights.tolist(), strategy.aggregate(1, weights, update).tolist()
    ([1.0], [2.5])
    """

    name = "fedavgm"
    title = "FedAvgM"
    reference = "Hsu 2019"
    summary = "adds momentum on the server"
    own_options = FedAvgMOptions

    def make_flower(self) -> Any:
        """Return Flower's FedAvgM."""
        from flwr.serverapp import strategy

        return strategy.FedAvgM(
            server_learning_rate=self.options.server_rate or RATE,
            server_momentum=self.options.server_momentum,
        )

    def aggregate(self, number: int, weights: Vector, update: AggregatedUpdate) -> Vector:
        """Tell Flower the weights against which it takes the change."""
        self.flower.current_arrays = record(weights)
        return super().aggregate(number, weights, update)

    def state(self) -> dict[str, Any]:
        """Return the momentum; None before the first round."""
        momentum = self.flower.momentum_vector
        return {"momentum": momentum[0] if momentum else None}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with this momentum."""
        momentum = state["momentum"]
        self.flower.momentum_vector = None if momentum is None else [momentum]
