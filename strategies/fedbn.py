"""FedBN (Li et al. 2021): every site keeps its own normalisation layers.

A site trains and predicts with its own (`client.training.round`); the server's average of them is
what hospitals get that did not train, as these have none of their own.
"""

from __future__ import annotations

from typing import ClassVar

from flwr.serverapp import strategy

from strategies.base import Stateless


class FedBN(Stateless, strategy.FedAvg):
    """On the server it is averaging."""

    averages: ClassVar[bool] = True
