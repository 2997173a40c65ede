"""Federated averaging (McMahan et al. 2017), with an average over the last rounds' weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.networks.schedule import averaged_rounds
from common.study import NetworkSettings

Weights = NDArray[np.float32]


class FederatedAverage:
    """Sites send (own patients / all patients) x local weights, so their sum is the average.

    The networks of the last rounds swing around a good one; the mean of their weights is steadier
    than any of them (Izmailov et al. 2018, over global instead of local models).

    Parameters
    ----------
    settings : of the network; `average_last` says how many rounds are averaged.
    weights : float32, where to start.
    """

    def __init__(self, settings: NetworkSettings, weights: Weights) -> None:
        self.weights = weights
        self._first = settings.rounds - averaged_rounds(settings)
        self._total: NDArray[np.float64] | None = None
        self._count = 0

    def update(self, number: int, total: Weights) -> None:
        """Take the summed update of round `number`."""
        self.weights = total
        if number >= self._first:
            if self._total is None:
                self._total = np.zeros(total.size, dtype=np.float64)
            self._total += total
            self._count += 1

    def result(self) -> Weights:
        """The weights to use: the mean over the last rounds."""
        if self._total is None:
            return self.weights
        return (self._total / self._count).astype(np.float32)

    def state(self) -> dict[str, Any]:
        """All that later rounds depend on, as plain data (see `common.plain`)."""
        return {"weights": self.weights, "total": self._total, "count": self._count}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.weights, self._total, self._count = state["weights"], state["total"], state["count"]
