"""Federated averaging (McMahan et al. 2017), by Flower's own FedAvg."""

from __future__ import annotations

from typing import ClassVar

from flwr.serverapp import strategy

from strategies.base import Stateless


class FedAvg(Stateless, strategy.FedAvg):
    """Sites send (own patients / all patients) x change, so their sum is the average change."""

    averages: ClassVar[bool] = True
