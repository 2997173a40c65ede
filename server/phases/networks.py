"""2D and 3D networks: federated training, fold by fold for out-of-fold probabilities, then on all.

Networks of different folds stop at different places, so that what one calls 0.45 another calls
0.52. As with support vector machines, the probabilities of each are put on mean 0 and standard
deviation 1 over the patients it was trained on, and one sigmoid makes probabilities of all. Of a
time to event it is the logarithm of the cumulative hazard by the first horizon that is put so, and
one Cox model makes risks of all.

Each variant (`fold0` ... , `final`) starts from the same initial weights, so nothing learnt on a
fold leaks into the network that is judged on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from common.dossier.disclosure import Disclosure, Phase, sum_disclosure
from common.masking.fixed_point import KEY_BYTES
from common.masking.identity import SIGNATURE_BYTES
from common.masking.narrow import Grid, grid_for, ring_width
from common.masking.update import SUMS
from common.messages.exchanges import Ranges, RoundPlan, SumItem, Weights
from common.messages.plain import plain
from common.models import MODELS, NETWORKS, ModelSpec, NetworkName
from common.networks.schedule import learning_rate_at, validation_fold
from common.networks.size import network_size, width_of
from common.statistics.counts import FoldCounts
from common.statistics.fold_moments import FoldMoments
from common.statistics.gram import FoldGram
from common.study.model import NetworkSettings, Study
from common.transforms import Clip, Linear, Select, Standardise
from common.transforms.views import ByFold, View, table
from common.utils import portable
from server.phases.components import components_asks, principal_components
from server.phases.cox import NO_LASSO, event_risk, fit_cox_models, gradient_asks, unconverged
from server.phases.fitted_model import FittedModel, ModelPhase, register
from server.phases.harmonise import harmonise, harmonise_asks, in_words
from server.phases.joined_features import ROUNDS, JoinedFeatures, join_asks, join_features
from server.phases.lasso import OuterFold, select_asks, select_columns
from server.phases.linear import fit_linear_model, linear_asks
from server.phases.near_zero_variance import fold_histograms, frequent, variance_asks
from server.phases.platt import INVERTED, PLATT_ROUNDS, calibration_asks, platt_scaling
from server.phases.protocol import NO_CONTROL, Federation, TrainingRound
from strategies.base import AggregatedUpdate

if TYPE_CHECKING:
    from strategies.model import GlobalModel


@plain
class TrainedNetwork:
    """Weights of one variant, its losses by round, and what they came from.

    `validation` (rounds,) is the loss on held-out patients after each round, where the study looks
    at it; `best_round` the number of rounds the weights have been through. `present` names, by
    round, the sites whose updates it added, where a quorum of them is enough.
    """

    weights: Weights
    width: int
    losses: tuple[float, ...]
    validation: tuple[float, ...]
    best_round: int
    held_out_loss: float | None
    origin: str
    present: tuple[tuple[str, ...], ...] = ()


@plain
class TrainingState:
    """Progress of one training: all that its next round depends on, beside the study.

    Parameters
    ----------
    model : state of the global model.
    losses, validation : by round, in training and on held-out patients.
    present : by round, sites whose updates it added, where a quorum of them is enough.
    """

    model: dict[str, Any]
    losses: tuple[float, ...]
    validation: tuple[float, ...]
    present: tuple[tuple[str, ...], ...] = ()


AfterRound = Callable[[TrainingState], None]


def variants(study: Study) -> tuple[str, ...]:
    """Name the trainings of one network."""
    return (*(f"fold{k}" for k in range(study.folds)), "final")


def rows_per_fold(federation: Federation) -> tuple[int, ...]:
    """Count the training patients of each fold over all sites; one round."""
    view = table("coded").then(Select(columns=()))
    counts = federation.sum(FoldCounts(folds=federation.study.folds), view)
    return tuple(round(float(n)) for n in counts.rows)


def train_variant(
    federation: Federation,
    network: NetworkName,
    variant: str,
    folds: tuple[int, ...],
    rounds: int,
    *,
    begun: TrainingState | None = None,
    after_round: AfterRound = lambda state: None,
) -> TrainedNetwork:
    """Train one variant; at the end the sites keep its features.

    Parameters
    ----------
    folds : training patients of each fold, from `rows_per_fold`.
    rounds : at most; see `rounds_of`.
    begun : state after an earlier round of the same training, to go on from.
    after_round : is given the state after each round.
    """
    from common.networks.flat import flatten, running_ranges, variance_ranges
    from common.networks.initial import initial_network
    from strategies.model import GlobalModel

    settings = federation.study.network(network)
    fold = -1 if variant == "final" else int(variant.removeprefix("fold"))
    validation = validation_fold(settings, fold, len(folds))
    total = sum(n for k, n in enumerate(folds) if k not in (fold, validation))
    model, origin = initial_network(
        network, settings, federation.study.seed, federation.study.network_outputs
    )
    running, width = running_ranges(model), model.width
    training = _Training(federation, network, variant, (fold, validation), total, running)
    variances = variance_ranges(model)
    weights = GlobalModel(settings, flatten(model), running, rounds, variances)
    del model  # it would lie in memory, beside the weights, for all of the training
    history = training.rounds(weights, rounds, begun, after_round)
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
        present=tuple(history.present),
    )


def rounds_of(
    study: Study, network: NetworkName, variant: str, trained: Mapping[str, TrainedNetwork]
) -> int:
    """Return the most rounds of a training.

    On all patients no one is left to choose a round by: as many as was best in the median over the
    trainings without a fold.
    """
    settings = study.network(network)
    if variant != "final" or not settings.validates:
        return settings.rounds
    return max(1, round(float(np.median([one.best_round for one in trained.values()]))))


@dataclass
class _History:
    """Losses so far, in training and on held-out patients after each round, and who was present."""

    losses: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    present: list[tuple[str, ...]] = field(default_factory=list)


@dataclass(frozen=True)
class _Training:
    """Whatever all rounds of one variant share.

    Parameters
    ----------
    left_out : fold left out of it and fold that chooses its round, -1 = none.
    total : patients that it learns from, over all sites.
    running : as `Federation.train` takes it.
    """

    federation: Federation
    network: NetworkName
    variant: str
    left_out: tuple[int, int]
    total: int
    running: Ranges

    def rounds(
        self,
        model: GlobalModel,
        most: int,
        begun: TrainingState | None,
        after_round: AfterRound,
    ) -> _History:
        """Run all rounds, or those that are left.

        A round depends on the state before it and on the study alone. Its weights are scored with
        the next round's question, the last ones with one of their own.
        """
        history = _History()
        if begun is not None:
            model.restore(begun.model)
            history = _History(list(begun.losses), list(begun.validation), list(begun.present))
        while len(history.losses) < most:
            number = len(history.losses)
            done = self._train(model, self._training_plan(model, number, history.present))
            if self._score(model, history, number, done) and model.gives_up(number):
                return history
            model.update(number, self._rescaled(done))
            if done.present:
                history.present.append(done.present)
            history.losses.append(done.loss)
            del done  # the changes of a large network are not kept beside the next round's
            losses, validation = tuple(history.losses), tuple(history.validation)
            present = tuple(history.present)
            after_round(TrainingState(model.state(), losses, validation, present))
        if self.left_out[1] >= 0:
            look = self._train(model, self._plan(epochs=0, number=most))
            self._score(model, history, most, look)
        return history

    def keep(self, weights: Weights, number: int) -> TrainingRound:
        """Let the sites score the weights and keep features and probabilities; nothing is learnt.

        Parameters
        ----------
        number : of rounds that the weights have been through.
        """
        plan = replace(self._plan(epochs=0, number=number), keep=True, validation_fold=-1)
        return self.federation.train(self.network, self.variant, weights, self.running, plan)

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
            self.running,
            plan,
            control=model.control if plan.epochs else NO_CONTROL,
            singly=model.single_updates,
        )

    def _rescaled(self, done: TrainingRound) -> AggregatedUpdate:
        """Return the mean update of the sites that were present, from the sum of their shares."""
        everybody = self.federation.study.training_sites
        if not done.present or set(done.present) == set(everybody):
            return done.update
        factor = np.float32(self._enrolled(everybody) / self._enrolled(done.present))
        return replace(done.update, change=done.update.change * factor)

    def _enrolled(self, sites: Iterable[str]) -> int:
        return sum(self.federation.members[site].counts["train"][0] for site in sites)

    def _training_plan(
        self, model: GlobalModel, number: int, present: Sequence[tuple[str, ...]]
    ) -> RoundPlan:
        study = self.federation.study
        settings = study.network(self.network)
        plan = self._plan(epochs=settings.local_epochs, number=number)
        if study.quorum:
            invited = present[-1] if present else study.training_sites
            plan = replace(plan, invited=invited, total=self._enrolled(study.training_sites))
        # before the first change nobody knows how large one is
        grid = Grid()
        if settings.transfer_bits < 32 and model.largest_changes:
            width = ring_width(settings.transfer_bits, len(study.training_sites))
            grid = grid_for(model.largest_changes, width)
        return replace(plan, learning_rate=learning_rate_at(settings, number), grid=grid)

    def _plan(self, *, epochs: int, number: int) -> RoundPlan:
        return RoundPlan(
            epochs=epochs,
            learning_rate=0.0,
            excluded_fold=self.left_out[0],
            validation_fold=self.left_out[1],
            total=self.total,
            keep=False,
            round=number,
        )


def _opening_asks(study: Study, rounds: int) -> tuple[Disclosure, ...]:
    """Declare how a sum is opened over the sites that answered."""
    others = len(study.training_sites) - study.quorum
    keys = {"own": f"{KEY_BYTES}", "pairs": f"at most {others} x {KEY_BYTES}"}
    return (
        Disclosure(
            exchange="query.sign",
            what="signature of whose changes a sum holds",
            subset="train",
            parts={"signature": f"{SIGNATURE_BYTES}"},
            size=SIGNATURE_BYTES,
            rounds=rounds,
        ),
        Disclosure(
            exchange="query.open",
            what="keys of the masks of one round",
            subset="train",
            parts=keys,
            size=KEY_BYTES * (1 + others),
            rounds=rounds,
        ),
    )


def network_model(
    federation: Federation, network: NetworkName, trained: Mapping[str, TrainedNetwork]
) -> FittedModel:
    """Make a model of a trained network: its probabilities, and its principal components."""
    names, study, width = variants(federation.study), federation.study, trained["final"].width
    notes, components = [trained["final"].origin], tuple[View, ...]()
    if study.reads_network_features:
        raw = _features(network, names, width)
        if study.harmonises("deep"):
            raw, dropped = harmonise(federation, raw)
            notes.append(in_words(study, dropped[-1]))
        components = tuple(principal_components(federation, raw, network))
    fused = components if "fusion_feature" in study.fusion_models else ()
    if fused:
        kept = len(fused[-1].outputs())
        notes.append(f"{kept} principal components enter the feature-level fusion")
    steps = ({"step": "columns", "count": width},)
    selection: dict[str, Any] = {"steps": steps, "notes": tuple(notes)}
    if study.selection.networks == "use":
        return _machine(federation, network, components, fused, selection)
    if study.selection.networks == "show":
        joined, selection = _joined(federation, components, selection)
        selection = select_columns(
            federation, network, joined.views, joined.supports, selection, joined.changing
        )
        selection["correlation"] = joined.correlation_of(selection["steps"][-1]["names"])
    own = _own if study.follow_up is None else _own_risk
    return own(federation, network, fused, selection)


def _own(
    federation: Federation,
    network: NetworkName,
    features: tuple[View, ...],
    selection: dict[str, Any],
) -> FittedModel:
    """Make a model of what a network says itself, on one scale and with Platt's scaling."""
    decisions, counts = _on_one_scale(federation, network)
    out_of_fold = View(source=ByFold(parts=tuple(decisions[:-1])))
    platt, inverted = platt_scaling(federation, out_of_fold, *counts)
    if inverted:
        selection = {**selection, "notes": (*selection["notes"], INVERTED)}
    return FittedModel(
        name=network,
        out_of_fold=out_of_fold.then(platt),
        final=decisions[-1].then(platt),
        features=features,
        selection=selection,
    )


def _own_risk(
    federation: Federation,
    network: NetworkName,
    features: tuple[View, ...],
    selection: dict[str, Any],
) -> FittedModel:
    """Make a model of the hazard that a network gives, by one Cox model for all folds.

    A network knows its own patients too well for its hazards to be taken as they are; the Cox
    model learns from those of patients it has not seen.
    """
    study = federation.study
    clip = () if study.privacy.mode == "faithful" else (Clip(limit=study.selection.clip),)
    scaled = [
        view.then(Standardise((network,), np.array([mean]), np.array([scale])), *clip)
        for view, mean, scale in _scales(federation, network)
    ]
    line, notes = _hazard_line(federation, network, View(ByFold(parts=tuple(scaled[:-1]))))
    decisions = [view.then(line) for view in scaled]
    out_of_fold = View(source=ByFold(parts=tuple(decisions[:-1])))
    patients, _ = federation.count("train")
    risk = event_risk(federation, network, out_of_fold, float(patients))
    return FittedModel(
        name=network,
        out_of_fold=out_of_fold.then(risk),
        final=decisions[-1].then(risk),
        features=features,
        selection={**selection, "notes": (*selection["notes"], *notes)},
    )


def _hazard_line(
    federation: Federation, network: NetworkName, out_of_fold: View
) -> tuple[Linear, tuple[str, ...]]:
    """Return the linear predictor on what a network says of patients it has not seen, and notes."""
    study, columns = federation.study, (network,)
    (found,) = federation.sum_many(fold_histograms(study, [out_of_fold]))
    support = found.support()
    if not frequent(study, support).all():
        flat = Linear(columns, np.zeros(1), intercept=0.0, name=network)
        return flat, ("the network says nearly the same of all patients: all get one risk",)
    gram = federation.sum(FoldGram(folds=study.folds, support=support), out_of_fold)
    outer = OuterFold(study.folds, (), out_of_fold, columns, NO_LASSO, gram, "")
    (fitted,), open_problems = fit_cox_models(federation, network, [outer])
    line: Linear = fitted.decision.transforms[-1]
    ratio = f"one standard deviation of what it says multiplies the hazard by {_ratio(line):.3g}"
    return line, (ratio, *unconverged(study, open_problems))


def _ratio(line: Linear) -> float:
    return float(portable.exp(line.weights)[0])


def _features(network: str, names: Iterable[str], width: int) -> list[View]:
    columns = tuple(f"{network}_{i}" for i in range(width))
    return [table(f"{network}/{v}/features").then(Select(columns=columns)) for v in names]


def _joined(
    federation: Federation, components: tuple[View, ...], selection: dict[str, Any]
) -> tuple[JoinedFeatures, dict[str, Any]]:
    """Make the components ready for the LASSO; return them, and the steps and notes so far."""
    joined = join_features(federation, [components])
    first, *others = joined.selection["steps"]
    return joined, {
        "steps": (*selection["steps"], {**first, "step": "components"}, *others),
        "notes": (*selection["notes"], *joined.selection["notes"]),
    }


def _machine(
    federation: Federation,
    network: NetworkName,
    components: tuple[View, ...],
    fused: tuple[View, ...],
    selection: dict[str, Any],
) -> FittedModel:
    """Make a machine of what the LASSO keeps of a network's components.

    As in the feature-level fusion, outer fold k takes those of the network that never saw fold k.
    """
    joined, selection = _joined(federation, components, selection)
    views, supports = joined.views, joined.supports
    model = fit_linear_model(
        federation, network, views, supports, fused, selection, joined.changing
    )
    return model.with_selection(correlation=joined.correlation_of(model.selected))


def _on_one_scale(
    federation: Federation, network: NetworkName
) -> tuple[list[View], tuple[int, int]]:
    """Standardise what each variant says over the patients it was trained on; one round.

    Returns
    -------
    A view by variant, and the positive and negative training patients.
    """
    decisions = []
    for view, mean, scale in _scales(federation, network):
        step = Linear(
            columns=(network,),
            weights=np.array([1.0 / scale]),
            intercept=-mean / scale,
            name=network,
        )
        decisions.append(view.then(step))
    patients, positives = federation.count("train")
    return decisions, (positives, patients - positives)


def _scales(federation: Federation, network: NetworkName) -> list[tuple[View, float, float]]:
    """Return what each variant says, with mean and deviation; one round."""
    study = federation.study
    raw = [
        table(f"{network}/{v}/{study.network_answer}").then(Select(columns=(network,)))
        for v in variants(study)
    ]
    moments = FoldMoments(folds=study.folds)
    found = federation.sum_many([SumItem(moments, view, "train") for view in raw])
    scales = []
    for left_out, (view, own) in zip(
        (*range(study.folds), -1), zip(raw, found, strict=True), strict=True
    ):
        mean, deviation = own.outside(left_out)
        scales.append((view, mean, deviation if deviation > 0 else 1.0))
    return scales


def network_asks(study: Study, network: NetworkName) -> Phase:
    """Declare what the phase of a network asks for; the first one also counts the folds."""
    settings, trainings = study.network(network), study.folds + 1
    size, running = network_size(network, settings, study.network_outputs)
    # control variates are as long as the weights
    numbers = 2 * size if settings.spec.sends_control else size
    what = "change of the weights"
    training = _update_asks(study, what, numbers, running, trainings * settings.rounds)
    looks = trainings + (study.folds if settings.validates else 0)
    asked = [training, _update_asks(study, "loss of the weights", 0, 0, looks)]
    if study.quorum:
        asked += _opening_asks(study, trainings * settings.rounds)
    rounds = trainings * settings.rounds * (3 if study.quorum else 1) + looks
    if network == study.networks[0]:
        asked.insert(0, sum_disclosure(study, FoldCounts(folds=study.folds), 0))
        rounds += 1
    if not study.fits_machine(network):
        asked.append(sum_disclosure(study, FoldMoments(folds=study.folds), 1, tables=trainings))
        scaling, more = _scaling_asks(study)
        asked += scaling
        rounds += 1 + more
    of_features, more = _features_asks(study, settings)
    asked += of_features
    rounds += more
    purpose = f"The {MODELS[network].short}, {trainings} trainings"
    return Phase(network, purpose, rounds, tuple(asked))


def _scaling_asks(study: Study) -> tuple[tuple[Disclosure, ...], int]:
    """Declare what makes probabilities, or risks, of what a network says, and its rounds."""
    if study.follow_up is None:
        return (calibration_asks(study),), PLATT_ROUNDS
    gradients, rounds = gradient_asks(study, 1, tables=1)
    gram = sum_disclosure(study, FoldGram(folds=study.folds), 1)
    return (variance_asks(study, 1), gram, *gradients), 2 + rounds


def _features_asks(study: Study, settings: NetworkSettings) -> tuple[tuple[Disclosure, ...], int]:
    """Declare what is asked of a network's features, and its rounds at most."""
    if not study.reads_network_features:
        return (), 0
    tables = study.folds + 1
    asked = components_asks(study, width_of(settings), tables)
    if study.harmonises("deep"):
        asked = (*harmonise_asks(study, width_of(settings), tables), *asked)
    rounds = sum(one.rounds for one in asked)
    if study.selection.networks == "off":
        return asked, rounds
    width = _most_components(study, settings)
    declare = linear_asks if study.selection.networks == "use" else select_asks
    chosen, more = declare(study, width, tables)
    return (*asked, *join_asks(study, width, tables), *chosen), rounds + ROUNDS + more


def _update_asks(study: Study, what: str, size: int, running: int, rounds: int) -> Disclosure:
    statistics = running + SUMS
    return Disclosure(
        exchange="train.network",
        what=what,
        subset="train",
        parts={"parameters": f"{size:,}", "statistics": f"{statistics:,}"},
        size=4 * size + 8 * statistics,
        rounds=rounds,
        masked=study.masked("train"),
    )


def _most_components(study: Study, settings: NetworkSettings) -> int:
    return min(study.selection.pca_components, width_of(settings))


def network_phase(spec: ModelSpec) -> ModelPhase:
    """Return the phase of a network, which the program trains before it is made a model."""

    def width(study: Study) -> int:
        return _most_components(study, study.network(spec.name))

    return ModelPhase(
        spec,
        lambda sites, earlier: network_model(sites, spec.name, earlier.trained),
        partial(network_asks, network=spec.name),
        width,
    )


for _name in NETWORKS:
    register(network_phase(MODELS[_name]))
