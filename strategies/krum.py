"""Krum (Blanchard et al. 2017), by Flower's own: the update that is closest to the others.

It needs the sites' single updates, and so cannot be used under masks: the study says so.
"""

from __future__ import annotations

from typing import ClassVar

from flwr.serverapp import strategy

from common.study.strategy import StrategyOptions
from strategies.base import Stateless


class Krum(Stateless, strategy.Krum):
    """One site's weights, those with the least distance to their neighbours."""

    single_updates: ClassVar[bool] = True

    def __init__(self, options: StrategyOptions) -> None:
        super().__init__(num_malicious_nodes=options.malicious_sites)
