"""Training round at a site: from the received weights to the share that goes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from client.data.cohort import Patient
from client.site import LOG
from client.store.draw_secret import draw_secret
from client.store.privacy_budget import Spending
from client.training.batches import Crops
from client.training.draws import Draws
from client.training.inference import (
    compute_of,
    crops_of,
    network_of,
    own_layers,
    store_inference,
)
from client.training.loop import loss_of, train_locally
from client.training.state import TrainingState
from client.workspace import Workspace
from common.disclosure.rounds import fewest_drawn
from common.disclosure.rule import BrokenRuleError, refusal
from common.masking.narrow import on_grid
from common.masking.update import SUMS, Update
from common.messages.exchanges import TrainRequest
from common.models import network_name
from common.networks.flat import flatten, load_flat, parts_of, put_parts, with_parts
from common.statistics.base import Float
from common.study.networks import NetworkSettings
from strategies.base import NOTHING, SiteRound, Strategy, Vector, make_strategy


def train_network(workspace: Workspace, request: TrainRequest) -> Update:
    """Run one round at this site; return its weighted change of the weights, and five sums.

    See `RoundPlan`. The loss on held-out patients is that of the received weights, so it scores the
    result of the round before.
    """
    return _Round(workspace, request).run()


def effective_steps(settings: NetworkSettings, steps: int) -> float:
    """Return the sum of step weights (Wang et al. 2020, section 4), by which FedNova divides.

    With momentum a gradient goes on working: after k steps it counts (1 - m^(K - k)) / (1 - m).
    """
    momentum = settings.momentum if settings.optimiser == "sgd" else 0.0
    worked = steps - momentum * (1.0 - momentum**steps) / (1.0 - momentum)
    return worked / (1.0 - momentum)


@dataclass(frozen=True)
class _Round:
    workspace: Workspace
    request: TrainRequest

    def run(self) -> Update:
        """Evaluate the loss, train, and keep features, as the plan asks."""
        plan, network = self.request.plan, self.request.network
        model = network_of(self.workspace.study, self.kind, self.request.weights)
        self._load_own_layers(model)
        sums = np.zeros(SUMS)
        if plan.validation_fold >= 0:
            sums[2:4] = self._loss(model, plan.validation_fold)
        change, control = NOTHING, NOTHING
        if plan.epochs:
            change, control = self._train(model, sums)
        if plan.keep:
            sums[2:4] = self._keep(model)
        words = compute_of(self.workspace).words()
        facts = (self.workspace.name, network, self.request.variant, words)
        LOG.debug("site %s: %s %s on %s", *facts)
        return Update(change, control, sums)

    # -- what is there -------------------------------------------------------------------------

    @property
    def kind(self) -> Any:
        """2D or 3D."""
        return network_name(self.request.network)

    @property
    def settings(self) -> NetworkSettings:
        """The study's block of this network."""
        return self.workspace.study.network(self.kind)

    @cached_property
    def strategy(self) -> Strategy[Any]:
        """The strategy, whose hooks live for this round."""
        return make_strategy(self.settings)

    @property
    def private(self) -> bool:
        """True when the training adds noise."""
        return bool(self.workspace.study.differential_privacy.on)

    @cached_property
    def draws(self) -> Draws:
        """The site's own random numbers for this round."""
        request, workspace = self.request, self.workspace
        return Draws(
            draw_secret(workspace.settings.work),
            request.run,
            request.network,
            request.variant,
            seed=workspace.study.seed,
            round=request.plan.round,
        )

    @property
    def patients(self) -> Sequence[Patient]:
        """Training patients of the site."""
        return self.workspace.cohort.subset(self.workspace.study, "train")

    def _carried(self, what: str) -> TrainingState:
        folder = self.workspace.run_tables.folder
        return TrainingState(folder, self.request.network, self.request.variant, what)

    @property
    def _own_layers(self) -> TrainingState:
        folder = self.workspace.run_tables.folder
        return own_layers(folder, self.request.network, self.request.variant)

    def _load_own_layers(self, model: Any) -> None:
        ranges = self.strategy.own_ranges(model)
        own = self._own_layers.before(self.request.plan.round) if len(ranges) else None
        if own is not None:
            load_flat(model, with_parts(self.request.weights, ranges, own))

    # -- parts of a round ----------------------------------------------------------------------

    def _loss(self, model: Any, fold: int) -> tuple[float, float]:
        """Return the sum of the losses of a fold's crops, and their number.

        Zeros under differential privacy: no noise covers them.
        """
        held_out = [patient for patient in self.patients if patient.fold == fold]
        if not held_out or self.private:
            return 0.0, 0.0
        crops = crops_of(self.workspace, self.kind, held_out)
        compute = compute_of(self.workspace)
        loss_sum, count = loss_of(model, self.kind, crops, self.settings, compute)
        return loss_sum, float(count)

    def _keep(self, model: Any) -> tuple[float, float]:
        """Store the training patients' features; return the loss of the fold left out."""
        ranges = self.strategy.own_ranges(model)
        if len(ranges):
            self._own_layers.keep(parts_of(flatten(model), ranges))
        variant, workspace = self.request.variant, self.workspace
        made_by = self.request.digest
        store_inference(workspace, model, self.kind, variant, "train", self.patients, made_by)
        return self._loss(model, self.request.plan.excluded_fold)

    def _train(self, model: Any, sums: Float) -> tuple[Vector, Vector]:
        """Train in place; return the weighted changes; add loss and steps to the sums."""
        plan, settings, strategy = self.request.plan, self.settings, self.strategy
        out = (plan.excluded_fold, plan.validation_fold)
        used = [patient for patient in self.patients if patient.fold not in out]
        carried = self._carried("carried")
        at_start = SiteRound(self.request.control, lambda: carried.before(plan.round))
        strategy.before_round(model, at_start)
        crops = crops_of(self.workspace, self.kind, used)
        if self.private:
            steps = self._train_privately(model, crops)
        else:
            self._check_drawn(crops)
            result = train_locally(
                model,
                self.kind,
                crops,
                settings=settings,
                learning_rate=plan.learning_rate,
                epochs=plan.epochs,
                generator=self.draws.generator("batches"),
                compute=compute_of(self.workspace),
                on_gradient=strategy.gradient_hook,
            )
            sums[:2] = result.loss_sum, result.samples
            steps = result.steps
        # a quorum is weighted by all training patients, as nobody counts those of some sites' folds
        counted = len(self.patients) if plan.invited else len(used)
        return self._weighted(model, counted, steps, sums)

    def _check_drawn(self, crops: Crops) -> None:
        """Refuse a round that may draw too few patients, now that the crops of each are known."""
        patients, first, each = np.unique(crops.patient, return_index=True, return_counts=True)
        label, least = crops.label[first], self.workspace.privacy.min_rows
        drawn = fewest_drawn(label, each, self.settings, self.request.plan.epochs)
        if patients.size and drawn < least:
            raise BrokenRuleError((refusal("drawn", self.workspace.privacy, "train"),))

    def _weighted(
        self, model: Any, patients: int, steps: int, sums: Float
    ) -> tuple[Vector, Vector]:
        """Return what leaves: the weighted change and control, with the steps in the sums."""
        plan, settings, strategy = self.request.plan, self.settings, self.strategy
        sites = len(self.workspace.study.training_sites)
        share = np.float32(1.0 / sites if strategy.single_updates else patients / plan.total)
        moved = effective_steps(settings, steps)
        sums[4] = float(share) * moved
        trained = flatten(model)
        self._store_own_layers(model, trained)
        change = trained
        change -= self.request.weights
        change *= share
        change = strategy.weigh(change, np.float32(moved), self.request.running)
        outcome = strategy.after_round(model)
        if outcome.carried is not None:
            carried = self._carried("carried")
            carried.after(plan.round, outcome.carried)
            carried.forget_before(plan.round)
        return self._rounded(change), outcome.control * share

    def _train_privately(self, model: Any, crops: Crops) -> int:
        """Train with noise, and count it as spent with the reply; return the steps taken.

        Draws and noise also follow from all that is asked for: no noise covers two questions, as it
        would if a site's memory were lost.
        """
        from client.training.dp_sgd import train_privately

        plan, workspace = self.request.plan, self.workspace
        asked, compute = (self.request.study, self.request.digest), compute_of(workspace)
        done = train_privately(
            model,
            self.kind,
            crops,
            settings=self.settings,
            private=workspace.study.differential_privacy,
            learning_rate=plan.learning_rate,
            epochs=plan.epochs,
            generator=self.draws.generator("drawn", *asked),
            noise=self.draws.generator("noise", *asked, device=compute.device),
            compute=compute,
        )
        spent = (done.noise_multiplier, done.sample_rate, done.steps)
        trained = workspace.releases.membership("train").digest
        spending = Spending(self.request.network, self.request.variant, *spent, trained)
        workspace.draft.spend(workspace.run_tables.folder.name, spending)
        return done.steps

    def _store_own_layers(self, model: Any, trained: Vector) -> None:
        ranges, number = self.strategy.own_ranges(model), self.request.plan.round
        if len(ranges):
            self._own_layers.after(number, parts_of(trained, ranges))
            if not self.settings.validates:  # else any round may turn out to be the best
                self._own_layers.forget_before(number)

    def _rounded(self, change: Vector) -> Vector:
        """Round to the plan's grid, adding the rounding errors of earlier rounds (error feedback).

        Seide et al. 2014; Karimireddy et al. 2019: the error of a round is sent in later ones. The
        change is overwritten: that of a large network is not copied.
        """
        plan, settings = self.request.plan, self.settings
        if settings.transfer_bits == 32:
            return change
        state = self._carried("rounded-off")
        left = state.before(plan.round)
        statistics = parts_of(change, self.request.running)
        if left is not None:
            change += left
        sites = len(self.workspace.study.training_sites)
        sent = on_grid(change, plan.grid, sites) if plan.grid else change.copy()
        put_parts(sent, self.request.running, statistics)
        rest = change
        rest -= sent
        put_parts(rest, self.request.running, np.zeros_like(statistics))
        state.after(plan.round, rest)
        state.forget_before(plan.round)
        return sent
