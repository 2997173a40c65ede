"""Krum: the site's weights that are closest to the others'."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from common.study.block import Settings
from strategies.base import Strategy, register


class KrumOptions(Settings):
    """Number of sites that may be malicious."""

    malicious_sites: int = Field(
        0,
        ge=0,
        title="malicious sites to reckon with",
        json_schema_extra={
            "unit": "hospitals",
            "origin": "ours: hospitals are known to each other",
        },
    )


@register
class Krum(Strategy[KrumOptions]):
    """One site's weights, those with the least distance to their neighbours; by Flower's Krum.

    >>> import numpy as np
    >>> from strategies.base import AggregatedUpdate
    >>> singles = tuple(np.float32([one / 4]) for one in (1.0, 1.5, 1.75, -50.0))
    >>> update = AggregatedUpdate(sum(singles), singles=singles)
    >>> strategy = Krum(KrumOptions(malicious_sites=1))
    >>> strategy.aggregate(0, np.zeros(1, np.float32), update).tolist()
    [1.5]
    """

    name = "krum"
    title = "Krum"
    reference = "Blanchard 2017"
    summary = "takes the weights of the hospital that is closest to the others"
    own_options = KrumOptions
    single_updates = True

    def make_flower(self) -> Any:
        """Return Flower's Krum."""
        from flwr.serverapp import strategy

        return strategy.Krum(num_malicious_nodes=self.options.malicious_sites)
