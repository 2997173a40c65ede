"""FedYogi: Yogi on the server, which differs from Adam in its second moment."""

from __future__ import annotations

from typing import Any

from strategies.base import register
from strategies.fedadam import FedAdam


@register
class FedYogi(FedAdam):
    """The sites' mean change is taken for a gradient (algorithm 2); by Flower's own FedYogi."""

    name = "fedyogi"
    title = "FedYogi"
    summary = "Yogi on the server"

    def make_flower(self) -> Any:
        """Return Flower's FedYogi."""
        from flwr.serverapp import strategy

        return strategy.FedYogi(**self.arguments())
