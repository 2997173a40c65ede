"""Rules for one round of a network's training: asked once, and over enough patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from common.disclosure.rule import TRAIN, Refusals, Rule, declare, fall_short, refusal
from common.messages.exchanges import RoundPlan
from common.models import NetworkName, network_input
from common.networks.schedule import validation_fold
from common.statistics.base import Int, Rows
from common.study.model import PrivacySettings, Study
from common.study.networks import NetworkSettings


def fewest_drawn(
    label: NDArray[np.floating], crops: Int, settings: NetworkSettings, epochs: int
) -> int:
    """Return the number of patients that a round draws at least, whatever the order of the draws.

    A first pass takes each crop once, but for a last batch of a single crop; in the worst case it
    begins with all crops of those patients that have the most. Later passes may draw the same.

    Parameters
    ----------
    label : (patients,), 1 for the positive class.
    crops : (patients,), how many each has, 1 or more.
    epochs : passes, where `settings.local_steps` does not say how many steps.
    """
    n, batch = int(crops.sum()), settings.batch_size
    steps = settings.local_steps or epochs * (n // batch + (n % batch > 1))
    drawn = min(steps * batch, n - (n % batch == 1))
    classes = [crops[(label > 0.5) == positive] for positive in (False, True)]
    if settings.sampling == "shuffled" or not all(own.size for own in classes):
        return _fewest(crops, drawn)
    halves = ((drawn + 1) // 2, drawn // 2)  # the classes take turns, and either may be first
    return min(
        sum(_fewest(own, half) for own, half in zip(classes, turn, strict=True))
        for turn in (halves, halves[::-1])
    )


def _fewest(crops: Int, drawn: int) -> int:
    """Return the fewest patients that so many crops can be of."""
    total = np.cumsum(np.sort(crops)[::-1])
    return int(np.searchsorted(total, min(drawn, int(crops.sum())))) + 1 if drawn > 0 else 0


def check_drawn(
    rows: Rows,
    left_out: Sequence[int],
    network: NetworkName,
    study: Study,
    privacy: PrivacySettings,
) -> Refusals:
    """Check that every round of a training draws enough patients, from numbers of patients alone.

    Under differential privacy the number is random and nothing is checked: the noise hides each
    patient whoever else was drawn.

    Parameters
    ----------
    rows : the site's training rows.
    left_out : folds left out; -1 is no fold.
    """
    if study.differential_privacy.on:
        return ()
    settings = study.network(network)
    label = rows.label[~np.isin(rows.fold, left_out)]
    flat = network_input(network).dimensions == 2
    most = 2 * study.imaging.crop2d_slices_each_side + 1 if flat else 1
    crops = np.full(label.size, most, dtype=np.int64)
    drawn = fewest_drawn(label, crops, settings, settings.local_epochs)
    return fall_short(privacy, TRAIN, {"drawn": drawn})


def check_plan(
    network: str, variant: str, plan: RoundPlan, study: Study, privacy: PrivacySettings
) -> Refusals:
    """Check that a round is one of the study's: network, variant, folds, passes, number."""
    folds = {"final": -1} | {f"fold{fold}": fold for fold in range(study.folds)}
    if network in study.networks and variant in folds:
        settings, fold = study.network(network), folds[variant]
        held = -1 if plan.keep else validation_fold(settings, fold, study.folds)
        if (
            (plan.excluded_fold, plan.validation_fold) == (fold, held)
            and plan.epochs in (0, settings.local_epochs)
            and not (plan.epochs and plan.keep)
            and 0 <= plan.round < (settings.rounds if plan.epochs else settings.rounds + 1)
            and bool(plan.invited) == bool(study.quorum and plan.epochs)
        ):
            return ()
    return (refusal("update", privacy, TRAIN, "a round that the study has not"),)


declare(
    Rule(
        name="update",
        protects="single patients, by training again on other weights",
        text="In one run a hospital trains a network once for each round that the study has, and"
        " on one set of weights: the same request again has the same answer, any other is refused."
        " Batches, augmentation and noise follow from a secret of the hospital's.",
        fixed=1.0,
        remedy="resume the run from its own folder, or start a new run",
    ),
    Rule(
        name="opened",
        protects="what one hospital adds to a round that goes on without another",
        text=(
            "Where a round needs a quorum alone, a hospital signs whose changes of the weights a"
            " sum holds, and reveals masks for one sum of the round, with the signatures of all in"
            " it."
            " If one does not sign, the others sign a sum under fresh masks, and never reveal those"
            " of the first. Who was left out comes back with the next training."
        ),
        fixed=1.0,
        remedy="resume the run from its own folder, or start a new run",
    ),
    Rule(
        name="departures",
        protects="the hospitals by which sums of rounds differ",
        text=(
            "At most this many rounds of a study go on without hospitals where their sum, with"
            " others of the study, tells of one or two: it points at what these would have added."
            " It does where one or two are left out, and where three are and later two of them and"
            " a third."
        ),
        setting="max_departures",
        remedy="wait until all hospitals of the round have answered",
    ),
    Rule(
        name="drawn",
        protects="the few patients of a short training round",
        text="A round's change of the weights is of at least this many patients: a study of few"
        " steps with small batches is refused before anything is computed. With differential"
        " privacy the noise takes the place of this rule.",
        setting="min_rows",
        decided_here=True,
        way="whole passes (local_steps = 0), more steps or larger batches in study.toml",
    ),
)
