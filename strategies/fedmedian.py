"""The median of the sites' weights (Yin et al. 2018), by Flower's own FedMedian.

It needs the sites' single updates, and so cannot be used under masks: the study says so.
"""

from __future__ import annotations

from typing import ClassVar

from flwr.serverapp import strategy

from strategies.base import Stateless


class FedMedian(Stateless, strategy.FedMedian):
    """Every weight's median over the sites, which count alike."""

    single_updates: ClassVar[bool] = True
