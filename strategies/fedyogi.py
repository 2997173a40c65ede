"""FedYogi: Yogi on the server, which differs from Adam in its second moment."""

from __future__ import annotations

from typing import Any

from strategies.base import register
from strategies.fedadam import FedAdam


@register
class FedYogi(FedAdam):
    """The sites' mean change is taken for a gradient (algorithm 2); by Flower's own FedYogi.

    >>> import numpy as np
    >>> from strategies.base import AggregatedUpdate
    >>> from strategies.fedadam import AdaptiveOptions
    >>> strategy, update = FedYogi(AdaptiveOptions()), AggregatedUpdate(np.float32([1.0, 0.1]))
    >>> strategy.aggregate(0, np.zeros(2, np.float32), update).astype(float).round(4).tolist()
    [0.0099, 0.0091]
    """

    name = "fedyogi"
    title = "FedYogi"
    summary = "runs Yogi on the server"

    def make_flower(self) -> Any:
        """Return Flower's FedYogi."""
        from flwr.serverapp import strategy

        return strategy.FedYogi(**self.arguments())
