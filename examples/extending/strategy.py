"""FedClip: federated averaging whose step on the server has a largest length."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from common.study.block import Settings
from common.utils import portable
from strategies.base import AggregatedUpdate, Strategy, Vector, register


class FedClipOptions(Settings):
    """The length at which a step is cut."""

    longest_step: float = Field(
        1.0,
        gt=0,
        title="longest step of the global weights",
        json_schema_extra={"unit": "Euclidean norm", "origin": "ours: an example"},
    )


@register
class FedClip(Strategy[FedClipOptions]):
    """new = old + change x min(1, longest step / |change|).

    >>> strategy, update = FedClip(FedClipOptions()), AggregatedUpdate(np.float32([3.0, 4.0]))
    >>> strategy.aggregate(0, np.zeros(2, np.float32), update).astype(float).round(3).tolist()
    [0.6, 0.8]
    """

    name = "fedclip"
    title = "FedClip"
    reference = "an example"
    summary = "shortens a mean update that is longer than `longest_step`"
    own_options = FedClipOptions

    def aggregate(self, number: int, weights: Vector, update: AggregatedUpdate) -> Vector:
        """Take the mean change, or as much of it as is allowed."""
        change = super().aggregate(number, weights, update) - weights
        length = max(portable.norm(change), self.options.longest_step)
        return weights + change * np.float32(self.options.longest_step / length)
