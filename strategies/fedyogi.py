"""FedYogi: Yogi on the server, which differs from Adam in its second moment."""

from __future__ import annotations

import numpy as np

from strategies.base import Vector, register
from strategies.fedadam import RATE, FedAdam


@register
class FedYogi(FedAdam):
    """The sites' mean change is taken for a gradient (algorithm 2), as by Flower's FedYogi.

    >>> from strategies.base import AggregatedUpdate
    >>> from strategies.fedadam import AdaptiveOptions
    >>> strategy, update = FedYogi(AdaptiveOptions()), AggregatedUpdate(np.float32([1.0, 0.1]))
    >>> strategy.aggregate(0, np.zeros(2, np.float32), update).astype(float).round(4).tolist()
    [0.0099, 0.0091]
    """

    name = "fedyogi"
    title = "FedYogi"
    summary = "runs Yogi on the server"

    def second_moment(self, second: Vector, square: Vector) -> Vector:
        """Move towards the squared change by a share of it, whatever the distance."""
        share = np.float32(1.0 - self.options.beta_2)
        moved: Vector = share * square * np.sign(second - square)
        return second - moved

    def rate(self, number: int) -> float:
        """Return the step of any round: Yogi corrects nothing."""
        return self.options.server_rate or RATE
