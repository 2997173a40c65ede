"""FedProx (Li et al. 2020), by Flower's own FedProx.

The server averages; a site adds mu (w - w_sent) to its gradients, as
`client.training.local_rules.Proximal` says.
"""

from __future__ import annotations

from typing import ClassVar

from flwr.serverapp import strategy

from common.study.strategy import StrategyOptions
from strategies.base import Stateless


class FedProx(Stateless, strategy.FedProx):
    """Parameters: `proximal_mu` of the options, which sites read from the study."""

    averages: ClassVar[bool] = True

    def __init__(self, options: StrategyOptions) -> None:
        super().__init__(proximal_mu=options.proximal_mu)
