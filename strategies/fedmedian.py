"""The median of the sites' weights."""

from __future__ import annotations

from typing import Any

from common.study.block import Settings
from strategies.base import Strategy, register


@register
class FedMedian(Strategy[Settings]):
    """Every weight's median over the sites, which count alike; by Flower's own FedMedian."""

    name = "fedmedian"
    title = "FedMedian"
    reference = "Yin 2018"
    summary = "the median of the hospitals' weights, one by one"
    single_updates = True

    def make_flower(self) -> Any:
        """Return Flower's FedMedian."""
        from flwr.serverapp import strategy

        return strategy.FedMedian()
