"""Federated averaging."""

from __future__ import annotations

from common.study.block import Settings
from strategies.base import Strategy, register


@register
class FedAvg(Strategy[Settings]):
    """Sites send (own patients / all patients) x change, so their sum is the average change."""

    name = "fedavg"
    title = "FedAvg"
    reference = "McMahan 2017"
    summary = "the mean change, by patients"
    averages = True
