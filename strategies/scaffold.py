"""SCAFFOLD (Karimireddy et al. 2020, algorithm 1) with all sites in every round.

A site corrects its gradients by c - c_i (`client.training.local_rules.Controlled`). Where the paper
weighs sites equally, here they count by their patients, in the weights as in c: both are then what
one hospital with all patients would have. The global step is 1, the paper's own choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord
from flwr.serverapp import strategy

from strategies.base import CONTROL, Stateless, Vector, vector_of


class Scaffold(Stateless, strategy.FedAvg):
    """Adds the sites' changes of the weights to the weights, and those of c_i to c.

    Parameters
    ----------
    size : number of weights.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self._control: Vector = np.zeros(size, dtype=np.float32)

    def control(self) -> Vector:
        """c, (n,)."""
        return self._control

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Flower's average, and the next c."""
        arrays, metrics = super().aggregate_train(server_round, replies)
        self._control = self._control + vector_of(arrays, CONTROL)
        return arrays, metrics

    def state(self) -> dict[str, Any]:
        """c."""
        return {"control": self._control}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with this c."""
        self._control = state["control"]
