"""2D and 3D networks: federated training, fold by fold for out-of-fold probabilities, then on all.

Each variant (`fold0` ... , `final`) starts from the same initial weights, so nothing learnt on a
fold leaks into the network that is judged on it.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from common.exchanges import RoundPlan, Weights
from common.networks.schedule import learning_rate_at
from common.plain import plain
from common.statistics.counts import FoldCounts
from common.study import NetworkSettings
from common.transforms import Select
from common.views import ByFold, View, table
from server.federation import Federation
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
    federation: Federation, network: Network, variant: str, folds: tuple[int, ...]
) -> TrainedNetwork:
    """Federated training of one variant; ends with the sites keeping its features.

    Parameters
    ----------
    folds : training patients of each fold, from `rows_per_fold`.
    """
    from common.networks.flat import flatten, wide_ranges
    from common.networks.initial import initial_network

    settings = settings_of(federation, network)
    study = federation.study
    fold = -1 if variant == "final" else int(variant.removeprefix("fold"))
    total = sum(folds) - (folds[fold] if fold >= 0 else 0)
    model, origin = initial_network(network, settings, seed=study.seed)
    wide = wide_ranges(model)
    strategy = FederatedAverage(settings=settings, weights=flatten(model))
    losses: list[float] = []
    for number in range(settings.rounds):
        plan = RoundPlan(
            epochs=settings.local_epochs,
            learning_rate=learning_rate_at(settings, number),
            excluded_fold=fold,
            total=total,
            seed=study.seed * 1000 + number,
            keep=False,
        )
        done = federation.train(network, variant, strategy.weights, wide, plan)
        strategy.update(number, done.weights)
        losses.append(done.loss)
        federation.events.tell(
            "round",
            network=network,
            variant=variant,
            round=number + 1,
            loss=done.loss,
            rounds=settings.rounds,
        )
    weights = strategy.result()
    plan = RoundPlan(
        epochs=0, learning_rate=0.0, excluded_fold=fold, total=total, seed=0, keep=True
    )
    kept = federation.train(network, variant, weights, wide, plan)
    held_out = None if np.isnan(kept.held_out_loss) else kept.held_out_loss
    return TrainedNetwork(
        weights=weights,
        width=model.width,
        losses=tuple(losses),
        held_out_loss=held_out,
        origin=origin,
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
