"""Adam on the server (Reddi et al. 2021, algorithm 2), by Flower's own FedAdam."""

from __future__ import annotations

from flwr.serverapp import strategy

from common.study.strategy import StrategyOptions
from strategies.adaptive import Adaptive, rate_of


class FedAdam(Adaptive, strategy.FedAdam):
    """The sites' mean change is taken for a gradient; running statistics never come here."""

    def __init__(self, options: StrategyOptions) -> None:
        super().__init__(
            eta=rate_of(options), beta_1=options.beta_1, beta_2=options.beta_2, tau=options.tau
        )
