"""FedNova: sites that take more steps do not count for more."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from common.study.block import Settings
from strategies.base import AggregatedUpdate, Ranges, Strategy, Vector, register


@register
class FedNova(Strategy[Settings]):
    """new = old + (sum of p_i steps_i) x (sum of p_i change_i / steps_i); equation 6.

    A site that took ten steps sends a tenth of its change; the last weight, a running statistic,
    goes as it is:

    >>> change, statistics = np.float32([5.0, 1.0]), np.array([[1, 2]])
    >>> FedNova(Settings()).weigh(change, np.float32(10), statistics).tolist()
    [0.5, 1.0]
    """

    name = "fednova"
    needs_all_sites = "divides by the steps of all sites"
    title = "FedNova"
    reference = "Wang 2020"
    summary = "normalises for the number of local steps"
    requires: ClassVar = {"optimiser": ("sgd", "it is defined for gradient descent")}

    def aggregate(self, number: int, weights: Vector, update: AggregatedUpdate) -> Vector:
        """Multiply Flower's average of changes a step by the mean number of steps."""
        a_step = super().aggregate(number, weights, update) - weights
        return weights + a_step * update.steps

    def weigh(self, change: Vector, steps: np.float32, statistics: Ranges) -> Vector:
        """Divide the change by the steps; running statistics are no sum of steps."""
        from common.networks.flat import parts_of, with_parts

        return with_parts(change / steps, statistics, parts_of(change, statistics))
