"""FedBN: every site keeps its own normalisation layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.study.block import Settings
from strategies.base import Ranges, Strategy, register

if TYPE_CHECKING:
    from torch import nn


@register
class FedBN(Strategy[Settings]):
    """On the server it is averaging, also of what sites keep: hospitals that only test use that.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(4, 2), nn.GroupNorm(1, 2), nn.Linear(2, 1))
    >>> FedBN(Settings()).own_ranges(model).tolist()
    [[10, 14]]
    """

    name = "fedbn"
    needs_all_sites = "keeps layers of its own at every site"
    title = "FedBN"
    reference = "Li 2021"
    summary = (
        "lets every hospital keep its own normalisation layers; hospitals that only test get the"
        " mean of all"
    )
    averages = True
    own_layers = "normalisation"

    def own_ranges(self, model: nn.Module) -> Ranges:
        """Return factors, offsets and statistics of all normalisation layers."""
        from common.networks.flat import norm_ranges

        return norm_ranges(model)
