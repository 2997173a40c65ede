"""2D and 3D networks: federated training, fold by fold for out-of-fold probabilities, then on all.

Each variant (`fold0` ... , `final`) starts from the same initial weights, so nothing learnt on a
fold leaks into the network that is judged on it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from common.masking.weights import grid16_for
from common.messages.exchanges import Ranges, RoundPlan, Weights
from common.messages.plain import plain
from common.networks.schedule import learning_rate_at, validation_fold
from common.statistics.counts import FoldCounts
from common.study.model import NetworkSettings
from common.transforms import Select
from common.transforms.views import ByFold, View, table
from server.federation.federation import Federation
from server.federation.rounds import TrainingRound
from server.phases.arm import Arm
from server.phases.components import principal_components
from server.run.checkpoint import Slot

if TYPE_CHECKING:
    from strategies.model import GlobalModel

Network = Literal["dl2d", "dl3d"]
_NOTHING: Weights = np.zeros(0, dtype=np.float32)


@plain
class TrainedNetwork:
    """Weights of one variant, its losses by round, and what they came from.

    `validation` (rounds,) is the loss on held-out patients after each round, where the study looks
    at it; `best_round` how many rounds the weights have been through.
    """

    weights: Weights
    width: int
    losses: tuple[float, ...]
    validation: tuple[float, ...]
    best_round: int
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
    rounds: int,
) -> TrainedNetwork:
    """Federated training of one variant; ends with the sites keeping its features.

    Parameters
    ----------
    folds : training patients of each fold, from `rows_per_fold`.
    progress : where every round is put by; what is there is gone on with.
    rounds : at most; see `rounds_of`.
    """
    from common.networks.flat import flatten, wide_ranges
    from common.networks.initial import initial_network
    from strategies.model import GlobalModel

    settings = settings_of(federation, network)
    fold = -1 if variant == "final" else int(variant.removeprefix("fold"))
    validation = validation_fold(settings, fold, len(folds))
    total = sum(n for k, n in enumerate(folds) if k not in (fold, validation))
    model, origin = initial_network(network, settings, seed=federation.study.seed)
    wide, width = wide_ranges(model), model.width
    training = _Training(federation, network, variant, (fold, validation), total, wide)
    weights = GlobalModel(settings, flatten(model), wide, rounds)
    del model  # it would lie in memory, beside the weights, for all of the training
    history = training.rounds(weights, progress, rounds)
    done = len(history.losses)
    kept = training.keep(weights.result(), weights.best_round(done))
    return TrainedNetwork(
        weights=weights.result(),
        width=width,
        losses=tuple(history.losses),
        validation=tuple(history.validation),
        best_round=weights.best_round(done),
        held_out_loss=None if np.isnan(kept.held_out_loss) else kept.held_out_loss,
        origin=origin,
    )


def rounds_of(
    federation: Federation, network: Network, variant: str, trained: Mapping[str, TrainedNetwork]
) -> int:
    """How many rounds a training has at most.

    On all patients no one is left to choose a round by: as many as was best in the median over the
    trainings without a fold.
    """
    settings = settings_of(federation, network)
    if variant != "final" or not settings.validates:
        return settings.rounds
    return max(1, round(float(np.median([one.best_round for one in trained.values()]))))


@dataclass
class _History:
    """Losses so far: in training, and on held-out patients after each round."""

    losses: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class _Training:
    """What all rounds of one variant share.

    Parameters
    ----------
    left_out : fold left out of it and fold that chooses its round, -1 = none.
    total : patients that it learns from, over all sites.
    wide : as `Federation.train` takes it.
    """

    federation: Federation
    network: Network
    variant: str
    left_out: tuple[int, int]
    total: int
    wide: Ranges

    def rounds(self, model: GlobalModel, progress: Slot, most: int) -> _History:
        """All rounds, or those that are left.

        A round depends on what is put by, the study and the round's number alone. Its weights are
        scored with the next round's question, the last ones with one of their own.
        """
        history = _History()
        if (stored := progress.read()) is not None:
            model.restore(stored["model"])
            history = _History(list(stored["losses"]), list(stored["validation"]))
        while len(history.losses) < most:
            number, start = len(history.losses), time.monotonic()
            done = self._train(model, self._training_plan(model, number))
            if self._score(model, history, number, done) and model.gives_up(number):
                self._tell_early(model, number)
                return history
            model.update(number, done.shares)
            history.losses.append(done.loss)
            del done  # the changes of a large network are not kept beside the next round's
            self._put_by(model, history, progress)
            self._tell(history, most, time.monotonic() - start)
        if self.left_out[1] >= 0:
            look = self._train(model, self._plan(epochs=0, number=most))
            self._score(model, history, most, look)
        return history

    def keep(self, weights: Weights, number: int) -> TrainingRound:
        """Let the sites look at the loss and keep features and probabilities; nothing is learnt.

        Parameters
        ----------
        number : how many rounds the weights have been through.
        """
        plan = replace(self._plan(epochs=0, number=number), keep=True, validation_fold=-1)
        return self.federation.train(self.network, self.variant, weights, self.wide, plan)

    def _score(
        self, model: GlobalModel, history: _History, number: int, done: TrainingRound
    ) -> bool:
        """Note the held-out loss of the weights that a round began with."""
        if self.left_out[1] < 0 or number == 0:  # the initial weights are no candidate
            return False
        if len(history.validation) < number:
            history.validation.append(done.held_out_loss)
        model.scored(number, done.held_out_loss)
        return True

    def _train(self, model: GlobalModel, plan: RoundPlan) -> TrainingRound:
        return self.federation.train(
            self.network,
            self.variant,
            model.weights,
            self.wide,
            plan,
            control=model.control if plan.epochs else _NOTHING,
            singly=model.single_updates,
        )

    def _training_plan(self, model: GlobalModel, number: int) -> RoundPlan:
        settings = settings_of(self.federation, self.network)
        plan = self._plan(epochs=settings.local_epochs, number=number)
        # before the first change nobody knows how large one is
        half = settings.transfer_bits == 16 and model.largest_change > 0.0
        return replace(
            plan,
            learning_rate=learning_rate_at(settings, number),
            seed=self.federation.study.seed * 1000 + number,
            grid=grid16_for(model.largest_change) if half else 0.0,
        )

    def _plan(self, *, epochs: int, number: int) -> RoundPlan:
        return RoundPlan(
            epochs=epochs,
            learning_rate=0.0,
            excluded_fold=self.left_out[0],
            validation_fold=self.left_out[1],
            total=self.total,
            seed=0,
            keep=False,
            round=number,
            grid=0.0,
        )

    def _tell_early(self, model: GlobalModel, number: int) -> None:
        self.federation.events.tell(
            "stopped_early",
            network=self.network,
            variant=self.variant,
            round=number,
            best=model.best_round(number),
        )

    def _put_by(self, model: GlobalModel, history: _History, progress: Slot) -> None:
        losses, validation = tuple(history.losses), tuple(history.validation)
        progress.write({"model": model.state(), "losses": losses, "validation": validation})

    def _tell(self, history: _History, most: int, seconds: float) -> None:
        loss = history.losses[-1]
        validation = history.validation[-1] if history.validation else None
        self.federation.events.tell(
            "round",
            network=self.network,
            variant=self.variant,
            round=len(history.losses),
            rounds=most,
            loss=None if np.isnan(loss) else loss,
            # of the round before: this one's comes with the next
            held_out_loss=validation,
            seconds=round(seconds, 3),
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
