"""FedNova (Wang et al. 2020, equation 6): sites that take more steps do not count for more.

A site divides its change by its steps; the sum is multiplied by the mean number of steps.
"""

from __future__ import annotations

from collections.abc import Iterable

from flwr.app import ArrayRecord, Message, MetricRecord
from flwr.serverapp import strategy

from strategies.base import STEPS, Stateless, Vector, record, vector_of


class FedNova(Stateless, strategy.FedAvg):
    """new = old + (sum of p_i steps_i) x (sum of p_i change_i / steps_i)."""

    def __init__(self) -> None:
        super().__init__()
        self._weights: Vector | None = None

    def begin(self, weights: Vector) -> None:
        """The change is taken against these."""
        self._weights = weights

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Flower's average of changes a step, times the mean number of steps."""
        arrays, metrics = super().aggregate_train(server_round, replies)
        if self._weights is None or metrics is None:
            raise ValueError("begin was not called before the round")
        steps = float(metrics[STEPS])  # type: ignore[arg-type]
        change = (vector_of(arrays) - self._weights) * steps
        return record((self._weights + change).astype(self._weights.dtype)), metrics
