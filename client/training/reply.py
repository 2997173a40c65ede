"""Answer of a site to a round that others may miss, and its objection to a round's result."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.site import LOG
from client.training.state import TrainingState
from client.workspace import Workspace
from common.masking.narrow import pack
from common.masking.update import SUMS, Update, to_sums_ring, to_update_rings
from common.messages.exchanges import TrainReply, TrainRequest

FACTOR, MARGIN = 3.0, 1.0
"""A loss is far worse above this many times the best before, and above it by this much."""


def objection(best: float, loss: float) -> tuple[float, ...]:
    """Return best loss and loss to two decimals where the loss is far worse, else nothing."""
    if not loss > max(FACTOR * best, best + MARGIN):
        return ()
    return (round(best, 2), round(min(loss, 1e6), 2))


def object_to(workspace: Workspace, request: TrainRequest, update: Update) -> tuple[float, ...]:
    """Compare the loss of the weights received with the best before, on held-out patients.

    The screen shows an objection; it leaves only where `min_rows` patients were held out.

    Returns
    -------
    words : best loss before and loss now, empty where there is nothing to object to.
    """
    plan, loss_sum, count = request.plan, float(update.sums[2]), float(update.sums[3])
    if plan.validation_fold < 0 or plan.keep or not count:
        return ()
    loss = loss_sum / count
    folder = workspace.run_tables.folder
    state = TrainingState(folder, request.network, request.variant, "held-out-loss")
    before = state.before(plan.round)
    best = math.inf if before is None else float(before[0])
    state.after(plan.round, np.array([min(best, loss)], dtype=np.float32))
    state.forget_before(plan.round - 1)  # the round before may be asked for again
    found = objection(best, loss)
    if not found:
        return ()
    LOG.warning(
        "site %s objects to round %d of %s/%s: loss of its own held-out patients %g, before %g",
        *(workspace.name, plan.round, request.network, request.variant, found[1], found[0]),
    )
    patients = workspace.cohort.subset(workspace.study, "train")
    held_out = sum(patient.fold == plan.validation_fold for patient in patients)
    return found if held_out >= workspace.privacy.min_rows else ()


def answer_step(workspace: Workspace, request: TrainRequest, update: Update) -> TrainReply:
    """Return a site's update under masks of its own and of pairs.

    Its five sums travel apart, under masks that only those of all training sites cancel: a loss of
    a few sites would say more than a round needs.
    """
    study, invited = workspace.study, request.plan.invited
    sites = len(study.training_sites)
    bare = replace(update, sums=np.zeros(SUMS))
    rings = to_update_rings(bare, request.running, sites, request.plan.grid)
    whole = set(invited) == set(study.training_sites)
    sums = to_sums_ring(update.sums, sites) if whole else np.zeros(0, dtype=np.uint64)
    keys = workspace.openings.begin(request)
    vectors: dict[str, NDArray[Any]] = {"parameters": rings.parameters, "narrow": rings.narrow}
    vectors["statistics"] = rings.statistics
    fingerprints = workspace.group.of_step(request, tuple(vectors.values()), keys)
    apart = workspace.group.of_apart(request, sums)
    workspace.openings.hide(request, keys, vectors)
    sums = workspace.masks.hide(
        sums,
        subset="train",
        keys=request.keys,
        exchange=f"{request.session}/{request.number}",
        digest=request.digest,
        item="sums",
    )
    return TrainReply(
        site=workspace.name,
        **request.echo,
        parameters=rings.parameters,
        narrow=pack(rings.narrow, request.plan.grid.width),
        statistics=rings.statistics,
        epsilon=workspace.releases.epsilon(),
        objection=object_to(workspace, request, update) if whole else (),
        fingerprints=np.concatenate([fingerprints, apart]),
        sums=sums,
        departures=workspace.openings.departures_left(workspace.privacy),
    )
