"""FedAdam: Adam on the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from pydantic import Field

from common.study.block import Positive, Settings
from strategies.base import WEIGHTS, AggregatedUpdate, Strategy, Vector, register

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
    """The sites' mean change is taken for a gradient (algorithm 2); by Flower's own FedAdam.

    The first step is nearly as large for a small change as for a large one:

    >>> import numpy as np
    >>> strategy, update = FedAdam(AdaptiveOptions()), AggregatedUpdate(np.float32([1.0, 0.1]))
    >>> strategy.aggregate(0, np.zeros(2, np.float32), update).astype(float).round(4).tolist()
    [0.0074, 0.0067]
    """

    name = "fedadam"
    title = "FedAdam"
    reference = "Reddi 2021"
    summary = "runs Adam on the server"
    own_options = AdaptiveOptions

    def make_flower(self) -> Any:
        """Return Flower's FedAdam."""
        from flwr.serverapp import strategy

        return strategy.FedAdam(**self.arguments())

    def arguments(self) -> dict[str, Any]:
        """Return the options as Flower names them."""
        options = self.options
        return {
            "eta": options.server_rate or RATE,
            "beta_1": options.beta_1,
            "beta_2": options.beta_2,
            "tau": options.tau,
        }

    def aggregate(self, number: int, weights: Vector, update: AggregatedUpdate) -> Vector:
        """Tell Flower the weights against which it takes the change."""
        self.flower.current_arrays = {WEIGHTS: weights}
        return super().aggregate(number, weights, update)

    def state(self) -> dict[str, Any]:
        """Return first and second moment; None before the first round."""
        return {"first": _only(self.flower.m_t), "second": _only(self.flower.v_t)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with these moments."""
        first, second = state["first"], state["second"]
        self.flower.m_t = None if first is None else {WEIGHTS: first}
        self.flower.v_t = None if second is None else {WEIGHTS: second}


def _only(moments: dict[str, NDArray[Any]] | None) -> NDArray[Any] | None:
    return moments[WEIGHTS] if moments else None
