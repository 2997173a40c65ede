"""2D and 3D networks: federated training, fold by fold for out-of-fold probabilities, then on all.

Each variant (`fold0` ... , `final`) starts from the same initial weights, so nothing learnt on a
fold leaks into the network that is judged on it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from common.exchanges import Ranges, RoundPlan, Weights
from common.networks.schedule import learning_rate_at
from common.plain import plain
from common.statistics.counts import FoldCounts
from common.study import NetworkSettings
from common.transforms import Select
from common.views import ByFold, View, table
from server.checkpoint import Slot
from server.federation import Federation, TrainingRound
from server.phases.arm import Arm
from server.phases.components import principal_components
from strategies.fedavg import FederatedAverage

Network = Literal["dl2d", "dl3d"]


@plain
class TrainedNetwork:
    """Weights of one variant and its losses by round."""

    weights: Weights
    width: int
    losses: tuple[float, ...]
    held_out_loss: float | None
    origin: str


def settings_of(federation: Federation, network: Network) -> NetworkSettings:
    """The study's block of this network."""
    return federation.study.dl2d if network == "dl2d" else federation.study.dl3d


def variants(federation: Federation) -> tuple[str, ...]:
    """Names of the trainings of one network."""
    return (*(f"fold{k}" for k in range(federation.study.folds)), "final")


def rows_per_fold(federation: Federation) -> tuple[int, ...]:
    """Training patients of each fold over all sites; one round."""
    view = table("coded").then(Select(columns=()))
    counts = federation.sum(FoldCounts(folds=federation.study.folds), view)
    return tuple(round(float(n)) for n in counts.rows)


def train_variant(
    federation: Federation,
    network: Network,
    variant: str,
    folds: tuple[int, ...],
    progress: Slot,
) -> TrainedNetwork:
    """Federated training of one variant; ends with the sites keeping its features.

    Parameters
    ----------
    folds : training patients of each fold, from `rows_per_fold`.
    progress : where every round is put by; what is there is gone on with.
    """
    from common.networks.flat import flatten, wide_ranges
    from common.networks.initial import initial_network

    settings = settings_of(federation, network)
    fold = -1 if variant == "final" else int(variant.removeprefix("fold"))
    total = sum(folds) - (folds[fold] if fold >= 0 else 0)
    model, origin = initial_network(network, settings, seed=federation.study.seed)
    training = _Training(federation, network, variant, fold, total, wide_ranges(model))
    strategy = FederatedAverage(settings=settings, weights=flatten(model))
    losses = training.rounds(strategy, progress)
    weights = strategy.result()
    kept = training.keep(weights)
    held_out = None if np.isnan(kept.held_out_loss) else kept.held_out_loss
    return TrainedNetwork(
        weights=weights,
        width=model.width,
        losses=losses,
        held_out_loss=held_out,
        origin=origin,
    )


@dataclass(frozen=True)
class _Training:
    """What all rounds of one variant share.

    Parameters
    ----------
    fold : left out of it, -1 = none.
    total : patients that it learns from, over all sites.
    wide : as `Federation.train` takes it.
    """

    federation: Federation
    network: Network
    variant: str
    fold: int
    total: int
    wide: Ranges

    def rounds(self, strategy: FederatedAverage, progress: Slot) -> tuple[float, ...]:
        """All rounds, or those that are left; the training loss of each.

        A round depends on what is put by, the study and the round's number alone.
        """
        settings = settings_of(self.federation, self.network)
        losses: list[float] = []
        if (stored := progress.read()) is not None:
            strategy.restore(stored["strategy"])
            losses = list(stored["losses"])
        for number in range(len(losses), settings.rounds):
            start = time.monotonic()
            plan = self._plan(
                epochs=settings.local_epochs,
                learning_rate=learning_rate_at(settings, number),
                seed=self.federation.study.seed * 1000 + number,
            )
            done = self._train(strategy.weights, plan)
            strategy.update(number, done.weights)
            losses.append(done.loss)
            progress.write({"strategy": strategy.state(), "losses": tuple(losses)})
            self.federation.events.tell(
                "round",
                network=self.network,
                variant=self.variant,
                round=number + 1,
                rounds=settings.rounds,
                loss=done.loss,
                seconds=round(time.monotonic() - start, 3),
            )
        return tuple(losses)

    def keep(self, weights: Weights) -> TrainingRound:
        """Let the sites look at the loss and keep features and probabilities; nothing is learnt."""
        return self._train(weights, self._plan(epochs=0, learning_rate=0.0, seed=0, keep=True))

    def _train(self, weights: Weights, plan: RoundPlan) -> TrainingRound:
        return self.federation.train(self.network, self.variant, weights, self.wide, plan)

    def _plan(
        self, *, epochs: int, learning_rate: float, seed: int, keep: bool = False
    ) -> RoundPlan:
        return RoundPlan(
            epochs=epochs,
            learning_rate=learning_rate,
            excluded_fold=self.fold,
            total=self.total,
            seed=seed,
            keep=keep,
        )


def deep_arm(federation: Federation, network: Network, trained: dict[str, TrainedNetwork]) -> Arm:
    """Out-of-fold and final probabilities of a trained network, and its principal components."""
    names = variants(federation)
    probability = {
        v: table(f"{network}/{v}/probability").then(Select(columns=(network,))) for v in names
    }
    features: tuple[View, ...] = ()
    if "fusion_feature" in federation.study.fusion_models:
        columns = tuple(f"{network}_{i}" for i in range(trained["final"].width))
        raw = [table(f"{network}/{v}/features").then(Select(columns=columns)) for v in names]
        features = tuple(principal_components(federation, raw, network))
    kept = len(features[-1].outputs()) if features else 0
    notes = [f"{kept} principal components enter the feature-level fusion"] if kept else []
    selection: dict[str, Any] = {
        "steps": ({"step": "columns", "count": trained["final"].width},),
        "notes": (trained["final"].origin, *notes),
    }
    return Arm(
        name=network,
        out_of_fold=View(source=ByFold(parts=tuple(probability[v] for v in names[:-1]))),
        final=probability["final"],
        features=features,
        selection=selection,
    )
