"""The global weights over the rounds: what a strategy makes of them, and which are the result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.masking.narrow import largest_of_blocks
from common.networks.schedule import averaged_rounds
from common.study.networks import NetworkSettings
from strategies.base import NO_RANGES, AggregatedUpdate, Ranges, Vector, make_strategy


class GlobalModel:
    """Weights from round to round, by the strategy that the settings name.

    The strategy sees trained weights only: Adam could push a running variance far below zero, so
    running statistics are averaged whatever the strategy. A mean of variances is not negative but
    for its rounding, which is cut off.

    The networks of the last rounds swing around a good one; the mean of their weights is steadier
    than any of them (Izmailov et al. 2018, over global instead of local models). With
    `select = "best"` the weights with the least held-out loss are the result instead.

    Parameters
    ----------
    settings : of the network.
    weights : float32 (n,), where to start.
    statistics : (k, 2), ranges of running statistics.
    rounds : how many there will be at most.
    variances : (k, 2), ranges of running variances among them.
    """

    def __init__(
        self,
        settings: NetworkSettings,
        weights: Vector,
        statistics: Ranges,
        rounds: int,
        variances: Ranges = NO_RANGES,
    ) -> None:
        self.weights, self._settings = weights, settings
        self._trained, self._variances = _mask(weights.size, statistics), variances
        self._strategy = make_strategy(settings)
        self._first = rounds - min(rounds, averaged_rounds(settings))
        self._total: NDArray[np.float64] | None = None
        self._count = 0
        self._best: tuple[float, int, Vector] | None = None
        self.largest_changes: tuple[float, ...] = ()

    @property
    def single_updates(self) -> bool:
        """Return whether the strategy needs the sites' single updates."""
        return self._strategy.single_updates

    @property
    def control(self) -> Vector:
        """Vector sent beside the weights; empty for most strategies."""
        return self._strategy.control(self.weights.size)

    def update(self, number: int, update: AggregatedUpdate) -> None:
        """Take what round `number` (0, 1, ...) came to."""
        trained = self._trained
        if self._settings.transfer_bits < 32:
            counted = trained if isinstance(trained, np.ndarray) else None
            self.largest_changes = largest_of_blocks(update.change, counted)
        average = self.weights + update.change
        if not self._strategy.averages:
            start = self.weights[trained]
            average[trained] = self._strategy.aggregate(number, start, update.only(trained))
        for start, stop in self._variances:
            np.maximum(average[start:stop], np.float32(0.0), out=average[start:stop])
        self.weights = average
        if self._settings.select == "last" and number >= self._first:
            self._add(average)

    def scored(self, rounds_done: int, loss: float) -> None:
        """Take the held-out loss of the weights as they are, after so many rounds."""
        if not np.isnan(loss) and (self._best is None or loss < self._best[0]):
            self._best = (loss, rounds_done, self.weights)

    def gives_up(self, rounds_done: int) -> bool:
        """Return whether no better weights came for as many rounds as the settings wait."""
        patience = self._settings.patience
        return bool(patience and self._best and rounds_done - self._best[1] >= patience)

    def result(self) -> Vector:
        """The weights to use."""
        if self._best is not None:
            return self._best[2]
        if self._total is None:
            return self.weights
        return (self._total / self._count).astype(np.float32)

    def best_round(self, rounds_done: int) -> int:
        """After how many rounds the result was reached; the last, unless one was chosen."""
        return rounds_done if self._best is None else self._best[1]

    def state(self) -> dict[str, Any]:
        """All that later rounds depend on, as plain data (see `common.messages.plain`)."""
        best = self._best and {"loss": self._best[0], "round": self._best[1], "w": self._best[2]}
        return {
            "weights": self.weights,
            "total": self._total,
            "count": self._count,
            "best": best,
            "largest_changes": self.largest_changes,
            "strategy": self._strategy.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.weights, self._total, self._count = state["weights"], state["total"], state["count"]
        best = state["best"]
        self._best = (best["loss"], best["round"], best["w"]) if best else None
        self.largest_changes = tuple(state["largest_changes"])
        self._strategy.restore(state["strategy"])

    def _add(self, weights: Vector) -> None:
        if self._total is None:
            self._total = np.zeros(weights.size, dtype=np.float64)
        self._total += weights
        self._count += 1


def _mask(size: int, statistics: Ranges) -> NDArray[np.bool_] | slice:
    """Select the trained weights; a slice that copies nothing where none is a statistic."""
    if not len(statistics):
        return slice(None)
    mask = np.ones(size, dtype=np.bool_)
    for start, stop in statistics:
        mask[start:stop] = False
    return mask
