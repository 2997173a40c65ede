"""Federated averaging."""

from __future__ import annotations

from common.study.block import Settings
from strategies.base import Strategy, register


@register
class FedAvg(Strategy[Settings]):
    """Sites send (own patients / all patients) x change, so their sum is the average change.

    >>> import numpy as np
    >>> from strategies.base import AggregatedUpdate
    >>> weights, change = np.float32([1.0, 2.0]), np.float32([0.5, -0.5])
    >>> FedAvg(Settings()).aggregate(0, weights, AggregatedUpdate(change)).tolist()
    [1.5, 1.5]
    """

    name = "fedavg"
    title = "FedAvg"
    reference = "McMahan 2017"
    summary = "takes the mean update, weighted by patients"
    averages = True
