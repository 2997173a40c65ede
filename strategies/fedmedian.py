"""The median of the sites' weights."""

from __future__ import annotations

from typing import Any

from common.study.block import Settings
from strategies.base import Strategy, register


@register
class FedMedian(Strategy[Settings]):
    """Every weight's median over the sites, which count alike; by Flower's own FedMedian.

    >>> import numpy as np
    >>> from strategies.base import AggregatedUpdate
    >>> singles = tuple(np.float32([one / 3]) for one in (0.5, 1.0, 100.0))
    >>> update = AggregatedUpdate(sum(singles), singles=singles)
    >>> FedMedian(Settings()).aggregate(0, np.zeros(1, np.float32), update).tolist()
    [1.0]
    """

    name = "fedmedian"
    title = "FedMedian"
    reference = "Yin 2018"
    summary = "takes the median of the hospitals' weights, one by one"
    single_updates = True

    def make_flower(self) -> Any:
        """Return Flower's FedMedian."""
        from flwr.serverapp import strategy

        return strategy.FedMedian()
