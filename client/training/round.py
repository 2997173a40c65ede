"""A training round at a site: from the weights that were sent to the share that goes back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.data.cohort import Patient
from client.site import LOG
from client.store.privacy_budget import PrivacyBudget
from client.training.batches import Crops
from client.training.inference import (
    compute_of,
    crops_of,
    network_of,
    own_norms,
    store_inference,
)
from client.training.local_rules import Controlled, LocalRule, Proximal
from client.training.loop import loss_of, train_locally
from client.training.state import TrainingState
from client.workspace import Workspace
from common.masking.update import SUMS, Update
from common.masking.weights import on_grid16
from common.messages.exchanges import TrainRequest
from common.models import network_name
from common.networks.flat import flatten, norm_ranges, parts_of, with_parts
from common.statistics.base import Float
from common.study.networks import NetworkSettings
from common.study.strategy import SINGLE_UPDATES

Vector = NDArray[np.float32]
_NOTHING: Vector = np.zeros(0, dtype=np.float32)


def train_network(workspace: Workspace, request: TrainRequest) -> Update:
    """One round at this site: its weighted change of the weights, and five sums.

    See `RoundPlan`. The loss on held-out patients is that of the weights that were sent, so it
    scores what the round before came to.
    """
    return _Round(workspace, request).run()


def own_seed(seed: int, site: str) -> int:
    """The round's seed mixed with the site's name, so that no two sites draw the same numbers."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{site}".encode()).digest()[:6], "big")


def effective_steps(settings: NetworkSettings, steps: int) -> float:
    """By what FedNova divides a change (Wang et al. 2020, section 4): the sum of step weights.

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
        """Look at the loss, train, keep: whatever the plan asks for."""
        plan, network = self.request.plan, self.request.network
        model = network_of(self.workspace.study, self.kind, self._weights())
        sums = np.zeros(SUMS)
        if plan.validation_fold >= 0:
            sums[2:4] = self._loss(model, plan.validation_fold)
        change, control = _NOTHING, _NOTHING
        if plan.epochs:
            change, control = self._train(model, sums)
        if plan.keep:
            sums[2:4] = self._keep(model)
        words = compute_of(self.workspace).words()
        told = (self.workspace.name, network, self.request.variant, words)
        LOG.debug("site %s: %s %s on %s", *told)
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

    @property
    def private(self) -> bool:
        """Whether the training adds noise."""
        return bool(self.workspace.study.differential_privacy.on)

    @property
    def patients(self) -> Sequence[Patient]:
        """All training patients of the site."""
        return self.workspace.cohort.subset(self.workspace.study, "train")

    def _carried(self, what: str) -> TrainingState:
        folder = self.workspace.run_tables.folder
        return TrainingState(folder, self.request.network, self.request.variant, what)

    def _norms(self) -> TrainingState:
        folder = self.workspace.run_tables.folder
        return own_norms(folder, self.request.network, self.request.variant)

    def _weights(self) -> Vector:
        """As they were sent; with FedBN, under the site's own normalisation."""
        weights = self.request.weights
        if self.settings.strategy != "fedbn":
            return weights
        own = self._norms().before(self.request.plan.round)
        if own is None:
            return weights
        model = network_of(self.workspace.study, self.kind, weights)
        return with_parts(weights, norm_ranges(model), own)

    # -- parts of a round ----------------------------------------------------------------------

    def _loss(self, model: Any, fold: int) -> tuple[float, float]:
        """Sum of the losses of a fold's crops, and how many there are.

        Nothing under differential privacy: no noise covers them.
        """
        held_out = [patient for patient in self.patients if patient.fold == fold]
        if not held_out or self.private:
            return 0.0, 0.0
        crops = crops_of(self.workspace, self.kind, held_out)
        compute = compute_of(self.workspace)
        loss_sum, count = loss_of(model, self.kind, crops, self.settings, compute)
        return loss_sum, float(count)

    def _keep(self, model: Any) -> tuple[float, float]:
        """Store features and probabilities of the training patients; the loss of the fold out."""
        if self.settings.strategy == "fedbn":
            self._norms().keep(parts_of(flatten(model), norm_ranges(model)))
        variant, workspace = self.request.variant, self.workspace
        store_inference(workspace, model, self.kind, variant, "train", self.patients)
        return self._loss(model, self.request.plan.excluded_fold)

    def _train(self, model: Any, sums: Float) -> tuple[Vector, Vector]:
        """Train in place; the weighted changes, with loss and steps written into the sums."""
        plan, settings = self.request.plan, self.settings
        out = (plan.excluded_fold, plan.validation_fold)
        used = [patient for patient in self.patients if patient.fold not in out]
        rule = self._rule(model)
        crops = crops_of(self.workspace, self.kind, used)
        if self.private:
            steps = self._train_privately(model, crops)
        else:
            result = train_locally(
                model,
                self.kind,
                crops,
                settings=settings,
                learning_rate=plan.learning_rate,
                epochs=plan.epochs,
                seed=own_seed(plan.seed, self.workspace.name),
                compute=compute_of(self.workspace),
                rule=rule,
            )
            sums[:2] = result.loss_sum, result.samples
            steps = result.steps
        share = np.float32(len(used) / plan.total)
        if settings.strategy in SINGLE_UPDATES:
            share = np.float32(1.0 / len(self.workspace.study.training_sites))
        moved = effective_steps(settings, steps)
        sums[4] = float(share) * moved
        trained = flatten(model)
        if settings.strategy == "fedbn":
            self._put_by_norms(model, trained)
        change = trained
        change -= self.request.weights
        change *= share
        if settings.strategy == "fednova":
            change = self._over_steps(change, np.float32(moved))
        control = _NOTHING
        if isinstance(rule, Controlled):
            control = self._next_control(model, rule) * share
        return self._rounded(change), control

    def _train_privately(self, model: Any, crops: Crops) -> int:
        """With noise, and written down as spent before anything of it leaves; the steps taken."""
        from client.training.dp_sgd import train_privately

        plan, workspace = self.request.plan, self.workspace
        done = train_privately(
            model,
            self.kind,
            crops,
            settings=self.settings,
            private=workspace.study.differential_privacy,
            learning_rate=plan.learning_rate,
            epochs=plan.epochs,
            compute=compute_of(workspace),
        )
        spent = (done.noise_multiplier, done.sample_rate, done.steps)
        budget = PrivacyBudget(workspace.run_tables.folder)
        budget.spend(self.request.network, self.request.variant, *spent)
        return done.steps

    def _rule(self, model: Any) -> LocalRule | None:
        settings = self.settings
        if settings.strategy == "fedprox":
            return Proximal(model, settings.strategy_options.proximal_mu)
        if settings.strategy == "scaffold":
            return Controlled(model, self.request.control, self._own_control())
        return None

    def _own_control(self) -> Vector:
        own = self._carried("control").before(self.request.plan.round)
        return np.zeros_like(self.request.control) if own is None else own

    def _next_control(self, model: Any, rule: Controlled) -> Vector:
        """Put the site's next control variate by; how it differs from the one before."""
        state, number = self._carried("control"), self.request.plan.round
        control = rule.next_control(model)
        state.after(number, control)
        state.forget_before(number)
        return control - self._own_control()

    def _put_by_norms(self, model: Any, trained: Vector) -> None:
        state, number = self._norms(), self.request.plan.round
        state.after(number, parts_of(trained, norm_ranges(model)))
        if not self.settings.validates:  # else any round may turn out to be the best
            state.forget_before(number)

    def _over_steps(self, change: Vector, steps: np.float32) -> Vector:
        """Change a step; running statistics are no sum of steps and stay as they are."""
        statistics = parts_of(change, self.request.wide)
        return with_parts(change / steps, self.request.wide, statistics)

    def _rounded(self, change: Vector) -> Vector:
        """On the plan's grid, with what earlier rounds rounded off (error feedback).

        Seide et al. 2014; Karimireddy et al. 2019: what is lost in a round is sent in later ones.
        """
        plan, settings = self.request.plan, self.settings
        if settings.transfer_bits == 32:
            return change
        state = self._carried("rounded-off")
        left = state.before(plan.round)
        wanted = change if left is None else change + left
        statistics = parts_of(change, self.request.wide)
        sent = wanted
        if plan.grid:
            sent = on_grid16(wanted, plan.grid, len(self.workspace.study.training_sites))
        sent = with_parts(sent, self.request.wide, statistics)
        rest = with_parts(wanted - sent, self.request.wide, np.zeros_like(statistics))
        state.after(plan.round, rest)
        state.forget_before(plan.round)
        return sent
